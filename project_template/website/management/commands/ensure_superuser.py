"""Create the first superuser from the environment; do nothing when it exists already."""

import os
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Create the superuser of DJANGO_SUPERUSER_USERNAME, _PASSWORD and _EMAIL, once."

    def handle(self, *args: Any, **options: Any) -> None:
        name = os.environ.get("DJANGO_SUPERUSER_USERNAME")
        if not name or not os.environ.get("DJANGO_SUPERUSER_PASSWORD"):
            return
        users = get_user_model()
        if users.objects.filter(**{users.USERNAME_FIELD: name}).exists():
            return
        os.environ.setdefault("DJANGO_SUPERUSER_EMAIL", "")
        call_command("createsuperuser", interactive=False, verbosity=0)
        self.stdout.write(f"Created the superuser {name}.")
