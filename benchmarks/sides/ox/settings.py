"""django-ox at its defaults. It keeps every finished task until it is pruned."""

from benchmarks.sides.common import *  # noqa: F403

INSTALLED_APPS = ["django_ox"]
TASKS = {"default": {"BACKEND": "django_ox.backend.OxBackend"}}
