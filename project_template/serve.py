"""Start the whole site: prepare the database and the static files, then become Granian.

    python serve.py                 what development and production run alike
    python serve.py --reload        also restart when a file changes (pip install 'granian[reload]')
    python serve.py --port 9000     any other option of `granian --help` is handed on as well

One worker process is all it takes: it serves requests, runs tasks and keeps the schedule.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from config.env import load_env_file

# Defaults of the server's environment; what is set there already wins.
DEFAULTS = {
    "GRANIAN_INTERFACE": "asgi",
    # Longer than VTASKS_DRAIN_TIMEOUT (20 s), so that running tasks may finish.
    "GRANIAN_WORKERS_KILL_TIMEOUT": "30",
    # A worker process that crashes is started again, instead of ending the site.
    "GRANIAN_RESPAWN_FAILED_WORKERS": "true",
    # The GNU C library holds on to memory that Python gives back in pieces. With these the idle
    # site needs 12 MiB less, at no cost in speed that we could measure.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "8192",
    "MALLOC_MMAP_MAX_": "4096",
}

# With --reload, that is while developing: do not wait long for running tasks (they are released
# and run again), and do not take what the site itself writes for a change of its code.
RELOADING = {
    "VTASKS_DRAIN_TIMEOUT": "2",
    "GRANIAN_WORKERS_KILL_TIMEOUT": "5",
    "GRANIAN_RELOAD_IGNORE_DIRS": "data",
}


def main() -> None:
    load_env_file(Path(__file__).with_name(".env"))
    options, more = arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        django.setup()
    except ImproperlyConfigured as error:
        sys.exit(f"error: {error}")
    if options.migrate:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("ensure_superuser")
    if options.collectstatic and not settings.DEBUG:
        call_command("collectstatic", interactive=False, verbosity=0)
    announce(options.host, options.port)
    become(granian(options.host, options.port) + more)


def arguments() -> tuple[argparse.Namespace, list[str]]:
    about, usage = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=about, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    parser.add_argument("--host", default=host, help="address to listen on (env HOST; %(default)s)")
    parser.add_argument("--port", default=port, type=int, help="(env PORT; %(default)s)")
    for step in ("migrate", "collectstatic"):
        parser.add_argument(f"--no-{step}", dest=step, action="store_false", help="skip this step")
    return parser.parse_known_args()


def granian(host: str, port: int) -> list[str]:
    command = ["config.asgi:application", f"--host={host}", f"--port={port}"]
    if settings.DEBUG:
        return command
    # Names carry a hash of the content, so browsers may keep what they have for a year.
    mount = [f"--static-path-route={settings.STATIC_URL.rstrip('/')}"]
    mount += [f"--static-path-mount={settings.STATIC_ROOT}", "--static-path-expires=31536000"]
    return command + mount


def announce(host: str, port: int) -> None:
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
    here = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    name = os.environ.get("DJANGO_SUPERUSER_USERNAME")
    who = f"as {name}" if name else "first: python manage.py createsuperuser"
    sys.stderr.write(
        f"{settings.SITE_NAME}: the site, its tasks and its schedule in one process\n"
        f"  page     {here}/\n"
        f"  admin    {here}/admin/   ({who})\n"
        f"  health   {here}/vtasks/health\n"
        f"  metrics  {here}/metrics\n"
        "Ctrl-C stops it.\n"
    )
    sys.stderr.flush()


def become(command: list[str]) -> None:
    """Replace this process, so that signals reach Granian and no memory stays behind."""
    command = [sys.executable, "-m", "granian", *command]
    reloading = RELOADING if "--reload" in command else {}
    environment = DEFAULTS | reloading | os.environ
    if os.name == "nt":
        sys.exit(subprocess.call(command, env=environment))
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
