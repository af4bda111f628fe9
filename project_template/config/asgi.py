"""What the server runs: Django, with tasks, schedule, metrics and health in the same process."""

import os

from django.core.asgi import get_asgi_application
from vtasks_asgi.asgi import get_worker_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_worker_application(get_asgi_application())
