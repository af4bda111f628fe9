"""``python benchmarks/pruned.py``: what ``prune_installed_apps`` saves a worker of the template.

The same fresh project, its worker started with and without VTASKS_IS_WORKER, in turns; the memory
of the idle process once it is healthy, in MiB.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import machine  # noqa: E402
from benchmarks.processes import memory  # noqa: E402

#: As docs/deployment.md has it.
SNIPPET = """
from vtasks_asgi.conf import prune_installed_apps

if os.environ.get("VTASKS_IS_WORKER") == "true":
    INSTALLED_APPS = prune_installed_apps(INSTALLED_APPS)
    ROOT_URLCONF = "vtasks_asgi.empty_urls"
"""
PATIENCE = 60.0
SETTLE = 2.0


def project(folder: Path) -> Path:
    """A fresh project, migrated."""
    made = folder / "weighed"
    start = ("-m", "vtasks_asgi", "startproject", "weighed", str(made))
    subprocess.run([sys.executable, *start], env=environment(), check=True, stdout=sys.stderr)
    with (made / "config" / "settings.py").open("a") as settings:
        settings.write(SNIPPET)
    migrate = (sys.executable, "manage.py", "migrate", "-v0")
    subprocess.run(migrate, cwd=made, env=environment(), check=True)
    return made


def environment(**more: str) -> dict[str, str]:
    """Production settings, as a worker would have them."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    site = {"DEBUG": "false", "SECRET_KEY": "benchmarks-only", "SITE_URL": "http://127.0.0.1"}
    return kept | site | {"LOG_LEVEL": "WARNING", "PYTHONPATH": str(ROOT)} | more


def weigh(made: Path, **more: str) -> dict[str, float]:
    """The memory of one idle worker."""
    health = made / "healthy"
    health.unlink(missing_ok=True)
    command = (sys.executable, "manage.py", "runworker", "--health-check-file", str(health))
    worker = subprocess.Popen(command, cwd=made, env=environment(**more), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not health.exists():
            if worker.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the worker did not become healthy")
            time.sleep(0.1)
        time.sleep(SETTLE)
        return memory(worker.pid)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="vtasks-pruned-"))
    try:
        made = project(folder)
        pairs = [(weigh(made), weigh(made, VTASKS_IS_WORKER="true")) for _ in range(rounds)]
    finally:
        shutil.rmtree(folder)
    for name, value in machine.describe(Path(tempfile.gettempdir())).items():
        print(f"{name}: {value}")
    for kind in ("rss", "pss", "private"):
        whole, pruned = median(w[kind] for w, _ in pairs), median(p[kind] for _, p in pairs)
        saved = median(w[kind] - p[kind] for w, p in pairs)
        print(f"{kind:8} {whole:6.1f} MiB, pruned {pruned:6.1f} MiB, saved {saved:5.1f} MiB")


if __name__ == "__main__":
    main()
