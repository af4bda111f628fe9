"""The peer's all-in-one application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.sides.peer.settings")

from django.core.asgi import get_asgi_application
from django_vtasks.asgi import get_worker_application

application = get_worker_application(get_asgi_application())
