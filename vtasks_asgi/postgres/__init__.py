"""For code that uses PostgreSQL beside the worker: ``async_pool``.

The name in INSTALLED_APPS is another way to spell ``"vtasks_asgi.db"``.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["async_pool"]

if TYPE_CHECKING:
    from vtasks_asgi.store.database.postgres.pool import async_pool


def __getattr__(name: str) -> Any:
    # Lazy, so that it can be an app's name where no driver is installed.
    if name in __all__:
        from vtasks_asgi.store.database.postgres import pool

        return getattr(pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
