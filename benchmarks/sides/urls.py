"""Routes of the sides' sites."""

from django.urls import path

from benchmarks.sides import views

urlpatterns = [
    path("", views.hello),
    path("counts", views.counts),
    path("stamp", views.send_stamp),
    path("enqueue", views.enqueue),
    path("enqueue-many", views.enqueue_many),
]
