"""Addresses. /metrics and /vtasks/health are answered by the wrapper in asgi.py, before Django."""

import warnings

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("website.urls")),
]
# Only with DEBUG on: static files straight from the apps. Otherwise Granian serves them.
urlpatterns += staticfiles_urlpatterns()
# Under ASGI that view reads a whole file before it answers, which is fine here and not news.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")
