"""What the numbers were measured on."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "vtasks-asgi",
    "django-vtasks",
    "celery",
    "django-tasks-rq",
    "saq",
    "django-ox",
    "dj-queue",
    "django-tasks-db",
    "procrastinate",
    "django",
    "asgiref",
    "orjson",
    "uvloop",
    "granian",
    "psycopg",
    "redis",
    "hiredis",
    "django-vcache",
)


def describe(
    workdir: Path, engines: Mapping[str, str] | None = None, *, awake: bool = False
) -> dict[str, str]:
    """Processor, memory, kernel, versions, and the file system the databases are on."""
    facts = {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _field("/proc/meminfo", "MemTotal") or "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(workdir),
        "scheduling": _scheduling() + ("; processors kept from halting" if awake else ""),
        "load at start": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        "python": platform.python_version(),
    }
    return facts | dict(engines or {}) | {name: _version(name) for name in PACKAGES}


def _scheduling() -> str:
    """Whether these processes were given an advantage over others (``nice``, ``chrt``)."""
    if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        return "real-time: other processes had to wait"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return "normal" if nice == 0 else f"nice {nice}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _file_system(path: Path) -> str:
    """The type of the mount that holds ``path``."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holders = [fields for fields in mounts if path.resolve().is_relative_to(fields[1])]
    return max(holders, key=lambda fields: len(fields[1]))[2] if holders else "unknown"
