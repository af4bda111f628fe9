"""The test project's only app: its tasks, and the mutant a positive control asks for."""

import os

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.project"
    label = "project"

    def ready(self) -> None:
        if name := os.environ.get("MUTANT"):
            from tests.project import mutants

            mutants.apply(name)
