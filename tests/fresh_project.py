"""A project as a new user gets it from the template, and its server as ``serve.py`` starts it.

Only ``serve.py`` is asked to start it, so what is tested is what users run.
"""

import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import ROOT, Process, free_port, wait_for

TEMPLATE = ROOT / "project_template"
NAME = "mysite"
ADMIN = ("admin", secrets.token_urlsafe(12))


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without anything that settings of a project would read."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TZ") if key in os.environ}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


def production(**more: str) -> dict[str, str]:
    """What a deployment has to say; everything else has a default."""
    key = secrets.token_urlsafe(48)
    return environment(DEBUG="false", SITE_URL="https://example.org", SECRET_KEY=key) | more


def create(folder: Path) -> Path:
    """Django's own command, its only option the template."""
    project = folder / NAME
    command = ["-m", "django", "startproject", NAME, "--template", str(TEMPLATE)]
    done = python(*command, cwd=folder, env=environment())
    assert done.returncode == 0, done.stderr
    (project / "logs").mkdir()
    return project


def python(*arguments: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, run to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@contextmanager
def serving(project: Path, env: dict[str, str], *options: str) -> Iterator[tuple[str, Process]]:
    """The address of a ready server, and its process."""
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    name, password = ADMIN
    env = env | {"DJANGO_SUPERUSER_USERNAME": name, "DJANGO_SUPERUSER_PASSWORD": password}
    command = [sys.executable, "serve.py", f"--port={port}", *options]
    server = Process("serve", command, project, env)
    try:
        wait_for(lambda: _ready(here, server), "the server is ready")
        yield here, server
    except BaseException:
        sys.stderr.write(server.text[-20_000:])
        raise
    finally:
        server.end()


def _ready(here: str, server: Process) -> bool:
    assert server.alive, f"serve.py ended with {server.popen.returncode}"
    try:
        return get(f"{here}/vtasks/health/ready").status == 200
    except OSError:
        return False


class Answer:
    """An HTTP answer, errors included."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers


def get(url: str, **headers: str) -> Answer:
    """Ask once, redirects not followed.

    Raises:
        OSError: nobody answers.
    """
    request = urllib.request.Request(url, headers=headers)
    try:
        with _opener.open(request, timeout=20) as reply:
            return Answer(reply.status, reply.read(), dict(reply.headers))
    except urllib.error.HTTPError as reply:
        with reply:
            return Answer(reply.code, reply.read(), dict(reply.headers))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


_opener = urllib.request.build_opener(_Stay)
