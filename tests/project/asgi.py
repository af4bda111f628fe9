"""The test project as one ASGI application: Django, and an echo for WebSockets, both wrapped."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.project.settings")

from django.core.asgi import get_asgi_application

from vtasks_asgi.asgi import get_worker_application

_django: Any = get_asgi_application()


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        await _django(scope, receive, send)


async def _echo(receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"echo {event['text']}"})


application = get_worker_application(_inner)
