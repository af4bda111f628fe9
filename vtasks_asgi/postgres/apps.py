"""The ancestor package's name for the app that holds the tables."""

from vtasks_asgi.db.apps import DatabaseConfig


class PostgresConfig(DatabaseConfig):
    """The same app, of the same label."""
