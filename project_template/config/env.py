"""The environment, read strictly: a wrong value is an error that names the variable."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
ENGINES = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql"}


def load_env_file(path: Path) -> None:
    """Read KEY=value lines into the environment. What is already set there wins."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            os.environ.setdefault(key.strip(), value.strip().strip("'\""))


def flag(name: str, *, default: bool) -> bool:
    """A switch: 1/0, true/false, yes/no or on/off."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name}={value!r}: use true or false.")
    return value.lower() in TRUE


def whole(name: str, *, default: int) -> int:
    """A whole number, 0 or more."""
    value = os.environ.get(name) or str(default)
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name}={value!r}: use a whole number.")
    return int(value)


def words(name: str) -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def required(name: str, advice: str) -> str:
    """A variable there is no safe default for."""
    if value := os.environ.get(name):
        return value
    raise ImproperlyConfigured(
        f"{name} is not set, and DEBUG is off. {advice}"
        " For development set DEBUG=true, for example by copying .env.example to .env."
    )


def origin(name: str, url: str) -> SplitResult:
    """A public address: scheme, host and perhaps port, nothing more."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ImproperlyConfigured(f"{name}={url!r}: use an address such as https://example.org.")
    return parts


def development_key(path: Path) -> str:
    """A random key for DEBUG, made once and kept out of version control, so logins survive."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def database(url: str, sqlite_options: dict[str, Any]) -> dict[str, Any]:
    """postgres://user:password@host:5432/name?sslmode=require, mysql://…, sqlite:///path."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # sqlite:///db.sqlite3 is relative, sqlite:////srv/db.sqlite3 absolute.
        name = unquote(parts.path).removeprefix("/")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": sqlite_options}
    if parts.scheme not in ENGINES:
        # Not the URL itself: it may hold a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must start with sqlite://, postgres:// or mysql://."
        )
    return {
        "ENGINE": f"django.db.backends.{ENGINES[parts.scheme]}",
        "NAME": unquote(parts.path).removeprefix("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
