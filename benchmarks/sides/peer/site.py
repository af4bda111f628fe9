"""This side's settings as a full site."""

from benchmarks.sides import site
from benchmarks.sides.peer import settings
from benchmarks.sides.peer.settings import *  # noqa: F403

INSTALLED_APPS = [*settings.INSTALLED_APPS, *site.APPS]
MIDDLEWARE = site.MIDDLEWARE
TEMPLATES = site.TEMPLATES
STATIC_URL = site.STATIC_URL
ROOT_URLCONF = site.URLS
VTASKS_SCHEDULE = site.SCHEDULE
VTASKS_CONCURRENCY = site.CONCURRENCY
