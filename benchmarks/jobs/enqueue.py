"""Enqueue from an async view of the all-in-one application; see ``sides.views``.

The process ends without ceremony, so that the harness counts what was durable when awaited.
"""

import json
import os
from typing import Any
from urllib.parse import urlencode

from django.core.asgi import get_asgi_application

from benchmarks.child import say
from benchmarks.inprocess import get, lifespan
from benchmarks.sides.base import Side


async def main(side: Side, params: dict[str, Any]) -> None:
    app = side.wrap(get_asgi_application())
    query = {name: params[name] for name in ("count", "coroutines", "warmup")}
    async with lifespan(app):
        said = json.loads(await get(app, "/enqueue", urlencode(query)))
        say("result", **said)
        os._exit(0)
