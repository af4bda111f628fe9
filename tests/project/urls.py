"""The test project's site: who am I, enqueue, and a view that takes its time."""

import asyncio
import os
import time
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.ledger import Kind
from tests.project import tasks
from tests.project.settings import FOLDER
from tests.project.tasks import PEN
from vtasks_asgi.exceptions import StoreUnavailable


async def who(request: HttpRequest) -> JsonResponse:
    """Which process of which project answered."""
    return JsonResponse({"pid": os.getpid(), "folder": str(FOLDER)})


def _calls(request: HttpRequest) -> list[tuple[str, tuple[Any, ...]]]:
    asked = request.GET
    more = (float(asked["seconds"]),) if "seconds" in asked else ()
    count = int(asked.get("count", 1))
    keys = [asked["key"] if count == 1 else f"{asked['key']}.{n}" for n in range(count)]
    return [(key, (key, *more)) for key in keys]


async def enqueue(request: HttpRequest) -> JsonResponse:
    """Enqueue ``count`` calls of ``task`` from a coroutine."""
    task = getattr(tasks, request.GET["task"])
    try:
        ids = await asyncio.gather(*(_aenqueue(task, *call) for call in _calls(request)))
    except StoreUnavailable as error:
        return JsonResponse({"error": f"StoreUnavailable: {error}"}, status=503)
    return JsonResponse({"ids": ids})


async def _aenqueue(task: Any, key: str, args: tuple[Any, ...]) -> str:
    PEN.write(Kind.ASKED, key)
    result = await task.aenqueue(*args)
    PEN.write(Kind.ACCEPTED, key)
    return str(result.id)


def enqueue_sync(request: HttpRequest) -> JsonResponse:
    """The same from a thread."""
    task = getattr(tasks, request.GET["task"])
    ids = []
    for key, args in _calls(request):
        PEN.write(Kind.ASKED, key)
        try:
            ids.append(str(task.enqueue(*args).id))
        except StoreUnavailable as error:
            return JsonResponse({"error": f"StoreUnavailable: {error}"}, status=503)
        PEN.write(Kind.ACCEPTED, key)
    return JsonResponse({"ids": ids})


def busy(request: HttpRequest) -> JsonResponse:
    """A sync view that ends when its gate opens."""
    tasks.gate(f"{request.GET['gate']}-reached").touch()
    while not tasks.gate(request.GET["gate"]).exists():
        time.sleep(tasks.LOOK_EVERY)
    return JsonResponse({"pid": os.getpid()})


def upload(request: HttpRequest) -> JsonResponse:
    """Reads a body."""
    return JsonResponse({"bytes": len(request.body)})


urlpatterns = [
    path("who", who),
    path("enqueue", enqueue),
    path("enqueue-sync", enqueue_sync),
    path("busy", busy),
    path("upload", upload),
]
