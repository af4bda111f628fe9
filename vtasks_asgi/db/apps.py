"""The Django app that holds the tables of the database backend."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DatabaseConfig(AppConfig):
    """Add ``"vtasks_asgi.db"`` to INSTALLED_APPS and run ``migrate``."""

    name = "vtasks_asgi.db"
    label = "vtasks"
    verbose_name = _("Tasks")
    default_auto_field = "django.db.models.BigAutoField"
