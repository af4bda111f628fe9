"""The event loop of a command."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def on_loop[T](main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end: on uvloop when that is installed, else on asyncio."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
