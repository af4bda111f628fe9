"""The name the ancestor package used; the engine follows the database alias."""

from vtasks_asgi.backends.database import DatabaseTaskBackend as PostgresTaskBackend

__all__ = ["PostgresTaskBackend"]
