"""Our all-in-one application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.sides.ours.settings")

from django.core.asgi import get_asgi_application

from vtasks_asgi.asgi import get_worker_application

application = get_worker_application(get_asgi_application())
