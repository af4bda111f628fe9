"""Routes of the full site: the admin, whose login page is the page asked for."""

from django.contrib import admin
from django.urls import path

from benchmarks.sides import views

urlpatterns = [path("", views.hello), path("admin/", admin.site.urls)]
