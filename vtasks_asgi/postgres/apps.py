"""The ancestor package's name for the app that holds the tables: one app, under one label."""

from vtasks_asgi.db.apps import DatabaseConfig

__all__ = ["DatabaseConfig"]
