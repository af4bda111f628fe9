"""``ROOT_URLCONF`` of a worker that reverses no URL: no view of the project is imported."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
