"""``python -m vtasks_asgi startproject mysite [directory]``: a project from our template.

A thin call of Django's own ``startproject``; the template is found wherever the package is.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.commands.startproject import Command

PACKAGE = Path(__file__).resolve().parent


def template(package: Path = PACKAGE) -> Path:
    """The template's folder: inside an installed package, beside it in a checkout.

    Raises:
        CommandError: it is in neither place, so the installation is incomplete.
    """
    places = [package / "project_template", package.parent / "project_template"]
    for place in places:
        if (place / "manage.py").is_file() and (place / "config" / "settings.py").is_file():
            return place
    raise CommandError(
        f"The project template is missing; looked for {' and '.join(map(str, places))}."
        " Reinstall vtasks-asgi, or pass the template of a checkout to"
        " django-admin startproject --template."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Wrong usage exits with 2, as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m vtasks_asgi")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("startproject", help="create a project that is ready to run")
    start.add_argument("name", help="the project's name, a Python identifier such as mysite")
    start.add_argument("directory", nargs="?", help="where to put it; default: a new folder NAME")
    options = parser.parse_args(arguments)
    try:
        return start_project(options.name, options.directory)
    except (CommandError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def start_project(name: str, directory: str | None) -> int:
    """Create the project and say how to start it."""
    target = [] if directory is None else [directory]
    # The command itself, not its name: no settings of a surrounding project are looked at.
    call_command(Command(), name, *target, template=str(template()))
    sys.stdout.write(f"Created {name}. Start it:\n\n")
    sys.stdout.write(f"    cd {directory or name}\n    python serve.py\n")
    return 0


if __name__ == "__main__":
    # Python put the current folder first; Django would take what lies there for modules that the
    # project's name collides with, its own folder included.
    sys.path = [entry for entry in sys.path if entry not in {"", str(Path.cwd())}]
    sys.exit(main())
