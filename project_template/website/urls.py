from django.urls import path

from website import views

urlpatterns = [
    path("", views.home, name="home"),
    path("submit", views.submit, name="submit"),
    path("status", views.status, name="status"),
]
