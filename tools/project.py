"""A project made from project_template/, in this checkout's environment.

python tools/project.py serve    what `make run` does: create it once, then start it
python tools/project.py test     what `make test` does: a fresh one's own checks and tests
"""

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "run" / "mysite"
# What a deployment has to say; everything else has a default.
PRODUCTION = {
    "DEBUG": "false",
    "SITE_URL": "https://example.org",
    "SECRET_KEY": secrets.token_urlsafe(48),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("test")
    serving = commands.add_parser("serve")
    serving.add_argument("--project", type=Path, default=PROJECT, help="(default: %(default)s)")
    serving.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    serving.add_argument(
        "--port", default=os.environ.get("PORT") or "8000", help="(env PORT; 8000)"
    )
    options = parser.parse_args()
    if options.command == "test":
        test()
    else:
        serve(options.project.absolute(), options.host, port_number(options.port))


def serve(project: Path, host: str, port: int) -> None:
    """Create the project if it is not there, then become its server."""
    refuse_taken_port(host, port)
    if (project / "manage.py").exists():
        print(f"Using the project in {project} (remove that folder to start afresh).")
    else:
        create(project)
        print(f"Created a project in {project}.")
    print(f"Sign in at /admin/ with: {sign_in(project)}\n", flush=True)
    os.chdir(project)
    os.execv(sys.executable, [sys.executable, "serve.py", f"--host={host}", f"--port={port}"])


def create(project: Path) -> None:
    """Make it complete under another name first, so that an interrupted run leaves no half."""
    half = project.with_name(f".{project.name}-unfinished")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    run("-m", "vtasks_asgi", "startproject", project.name, str(half), cwd=ROOT, quiet=True)
    # The template's .env is for development; a superuser in it is created by serve.py.
    env_file = half / ".env"
    env_file.chmod(0o600)
    with env_file.open("a") as lines:
        lines.write("DJANGO_SUPERUSER_USERNAME=admin\n")
        lines.write(f"DJANGO_SUPERUSER_PASSWORD={secrets.token_urlsafe(9)}\n")
    half.rename(project)


def sign_in(project: Path) -> str:
    """The development superuser, as written into .env when the project was made."""
    lines = (project / ".env").read_text().splitlines() if (project / ".env").exists() else []
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    name = values.get("DJANGO_SUPERUSER_USERNAME")
    if not name:
        return "your own user (python manage.py createsuperuser)"
    return f"{name} / {values.get('DJANGO_SUPERUSER_PASSWORD', '')}"


def test() -> None:
    """A fresh project's deployment checks, then its own tests."""
    with tempfile.TemporaryDirectory(prefix="vtasks-template-") as folder:
        project = Path(folder) / "mysite"
        create(project)
        run("manage.py", "check", "--deploy", "--fail-level=WARNING", cwd=project, env=PRODUCTION)
        run("manage.py", "test", cwd=project)


def run(
    *arguments: str, cwd: Path, quiet: bool = False, env: Mapping[str, str] | None = None
) -> None:
    """Python with these arguments; a failure ends this program with the same code."""
    command = [sys.executable, *arguments]
    output = subprocess.DEVNULL if quiet else None
    everything = {**clean_environment(), **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=everything, stdout=output, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would redirect Django to other settings."""
    return {k: v for k, v in os.environ.items() if k not in {"DJANGO_SETTINGS_MODULE", "DEBUG"}}


def port_number(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    sys.exit(f"PORT={text} is no port number: use one from 1 to 65535, as in make run PORT=8001")


def refuse_taken_port(host: str, port: int) -> None:
    """Say it in one sentence, before anything starts."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        sys.exit(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}."
            " Stop what uses it, or choose another port, as in: make run PORT=8001"
        )


if __name__ == "__main__":
    main()
