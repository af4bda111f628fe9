"""Every test has the tables, empty, and may change settings, as those of Django's side."""

from tests.django.conftest import change, clean

__all__ = ["change", "clean"]
