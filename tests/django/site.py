"""The URLs of a small site that enqueues."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from tests.django import sample
from vtasks_asgi.runtime.active import runtime_of


def enqueue(request: HttpRequest) -> HttpResponse:
    return HttpResponse(sample.note.enqueue("from a sync view").id)


async def aenqueue(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await sample.anote.aenqueue("from an async view")).id)


def active(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"active": runtime_of("default") is not None})


async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [
    path("enqueue", enqueue),
    path("aenqueue", aenqueue),
    path("active", active),
    path("hello", hello),
    path("metrics", hello),
]
