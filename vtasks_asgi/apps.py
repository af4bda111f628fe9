"""The Django app: system checks, nothing else."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class VTasksConfig(AppConfig):
    """Add ``"vtasks_asgi"`` to INSTALLED_APPS."""

    name = "vtasks_asgi"
    label = "vtasks_asgi"
    verbose_name = _("vtasks_asgi")

    def ready(self) -> None:
        import vtasks_asgi.checks  # noqa: F401, PLC0415 - registers itself
