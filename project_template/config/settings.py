"""Settings of {{ project_name }}: one process that serves the site and runs its tasks.

Everything that differs between machines comes from the environment, or from a file `.env` beside
`manage.py`; `.env.example` lists the variables.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

from django.utils.csp import CSP
from vtasks_asgi.scheduler import crontab

from config import env

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_env_file(BASE_DIR / ".env")

# Everything the site writes to disk: the database and, with DEBUG on, a development key.
DATA_DIR = Path(os.environ.get("DATA_DIR") or BASE_DIR / "data")
DATA_DIR.mkdir(parents=True, exist_ok=True)

# --- Where it runs ------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", default=False)
TESTING = "test" in sys.argv
SITE_NAME = os.environ.get("SITE_NAME") or "{{ project_name }}"

if DEBUG:
    SITE_URL = os.environ.get("SITE_URL") or "http://127.0.0.1:8000"
    SECRET_KEY = os.environ.get("SECRET_KEY") or env.development_key(DATA_DIR / "development-key")
else:
    SITE_URL = env.required("SITE_URL", "It is the public address, such as https://example.org.")
    SECRET_KEY = env.required(
        "SECRET_KEY",
        "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'.",
    )
ORIGIN = env.origin("SITE_URL", SITE_URL)
HTTPS = ORIGIN.scheme == "https"

# With DEBUG on, Django itself adds localhost to these hosts.
ALLOWED_HOSTS = [*env.words("ALLOWED_HOSTS"), *([] if DEBUG else [ORIGIN.hostname])]
CSRF_TRUSTED_ORIGINS = [*env.words("CSRF_TRUSTED_ORIGINS"), SITE_URL.rstrip("/")]

# --- Security: `manage.py check --deploy` is clean with an https SITE_URL ------------------------
# The process speaks plain HTTP behind a proxy that terminates TLS and sets X-Forwarded-Proto.
# /metrics and /vtasks/health are answered before Django, so probes are never redirected.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = env.whole("HSTS_SECONDS", default=3600) if HTTPS else 0
# Subdomains and preloading concern more than this site: decide for your domain, then set them.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"

# --- Parts --------------------------------------------------------------------------------------
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
INSTALLED_APPS = [
    "website",
    "vtasks_asgi",
    "vtasks_asgi.db",
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
TEMPLATES = [
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
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Database -----------------------------------------------------------------------------------
# SQLite, tuned for one process with many threads: readers never wait for the writer (WAL), writers
# queue up instead of failing (IMMEDIATE and the timeout), and a commit survives the death of the
# process (synchronous NORMAL; FULL also survives a power cut, at one fsync a commit).
SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite:///{quote(str(DATA_DIR / 'db.sqlite3'))}"
DATABASES = {
    "default": {
        **env.database(DATABASE_URL, SQLITE_OPTIONS),
        # Requests of an ASGI server move between threads; kept connections would pile up.
        "CONN_MAX_AGE": 0,
    }
}

# --- Tasks and schedule -------------------------------------------------------------------------
# The queue lives in the database above: a task enqueued in a transaction exists exactly if the
# transaction commits, and there is one file to back up.
TASKS = {
    "default": {
        "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
        "OPTIONS": {"DATABASE": "default", "RESULT_TTL": 3600},
    }
}
if VALKEY_URL := os.environ.get("VALKEY_URL"):
    TASKS["default"] = {
        "BACKEND": "vtasks_asgi.backends.valkey.ValkeyTaskBackend",
        "OPTIONS": {"BROKER_URL": VALKEY_URL, "RESULT_TTL": 3600},
    }

VTASKS_CONCURRENCY = 20
VTASKS_SCHEDULE = {
    "heartbeat": {"task": "website.tasks.heartbeat", "schedule": 5},
    "clear-sessions": {
        "task": "website.tasks.clear_sessions",
        "schedule": crontab(hour=4, minute=30),
    },
}

# --- Static files -------------------------------------------------------------------------------
# Outside DEBUG: collected with a hash in every name, served by Granian itself (see serve.py).
STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles")
if not DEBUG and not TESTING:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }

# --- Language, time, mail -----------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# --- Logs: one line per event on stderr, among them one per task ----------------------------------
LOG_LEVEL = "CRITICAL" if TESTING else os.environ.get("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "[%(levelname)s] %(asctime)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        # Django's own two lines per task cost more than ours, which also says how long it took.
        "django.tasks": {"level": "CRITICAL" if TESTING else "WARNING"},
        "vtasks_asgi.tasks": {"level": "DEBUG" if LOG_LEVEL == "INFO" else LOG_LEVEL},
    },
}
