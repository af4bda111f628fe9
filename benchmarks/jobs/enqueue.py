"""Enqueue from an async view of the side's application; ``sides.views`` has ``view`` and its query.

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
    async with lifespan(app):
        said = json.loads(await get(app, f"/{params['view']}", urlencode(params["query"])))
        say("result", **said)
        os._exit(0)
