from django.urls import path

from website import views

urlpatterns = [
    path("", views.home, name="home"),
    path("favicon.ico", views.favicon),
    path("submit", views.submit, name="submit"),
    path("status", views.status, name="status"),
]
