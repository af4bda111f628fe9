"""The Lua scripts: one file a verb, each with a header that names its keys and arguments.

``python -m vtasks_asgi.store.valkey.scripts push`` prints one as the server gets it, for producers
in other languages.
"""

import sys
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha1
from importlib.resources import files

_KEYS = "-- KEYS:"
_INCLUDE = "-- INCLUDE:"


@dataclass(frozen=True)
class Script:
    """``keys`` are the suffixes of the keys it wants, in order."""

    name: str
    text: str
    keys: tuple[str, ...]
    by_hash: bytes = field(init=False, repr=False)
    by_text: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = self.text.encode()
        # The hash is the server's name for a script, no protection of anything.
        digest = sha1(text, usedforsecurity=False).hexdigest().encode()
        object.__setattr__(self, "by_hash", b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % digest)
        packed = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(text), text)
        object.__setattr__(self, "by_text", packed)


@cache
def script(name: str) -> Script:
    """The script of that name."""
    text = _read(name)
    header = next(line for line in text.splitlines() if line.startswith(_KEYS))
    return Script(name, text, tuple(header.removeprefix(_KEYS).split()))


def _read(name: str) -> str:
    folder = files("vtasks_asgi.store.valkey") / "lua"
    lines = []
    for line in (folder / f"{name}.lua").read_text("utf-8").splitlines():
        if line.startswith(_INCLUDE):
            lines.append(_read(line.removeprefix(_INCLUDE).strip()))
        else:
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(script(sys.argv[1]).text + "\n")
