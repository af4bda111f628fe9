"""A full Django site on top of a side's settings: the apps and middleware of the template."""

import os
from importlib import import_module
from typing import Any

_side = import_module(f"benchmarks.sides.{os.environ['BENCH_PACKAGE']}.settings")
globals().update({name: value for name, value in vars(_side).items() if name.isupper()})

INSTALLED_APPS = [
    *_side.INSTALLED_APPS,
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
ROOT_URLCONF = "benchmarks.sides.site_urls"

#: Two schedules, one of which fires, as in the template.
VTASKS_SCHEDULE = {
    "heartbeat": {"task": "benchmarks.sides.tasks.beat", "schedule": 5},
    "nightly": {"task": "benchmarks.sides.tasks.beat", "schedule": "30 4 * * *"},
}
VTASKS_CONCURRENCY = 20
