"""What could cost messages or trust later is said when the store is opened, by name."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.valkey.commands import ask
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.wire import Request, command

CHECK = script("check")
OLDEST = 7

type Call = Callable[[Request], Awaitable[Any]]


async def warnings(call: Call, names: Names) -> list[str]:
    """A sentence for each thing that is wrong, or could not be looked at. Never raises."""
    told = dict(_pairs(await _answer(call, names, "INFO")))
    config = await _config(call, names)
    missing = await _quietly(call, ask(names.ticks, CHECK))
    return [
        *_version(told),
        *_eviction(told.get("maxmemory_policy") or config.get("maxmemory-policy")),
        *_persistence(told.get("aof_enabled"), config.get("save")),
        *_rights(missing),
    ]


def _version(told: dict[str, str]) -> Iterator[str]:
    version = told.get("valkey_version") or told.get("redis_version") or ""
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        yield f"the server is of version {version}; it must be {OLDEST} or later"


def _eviction(policy: str | None) -> Iterator[str]:
    if policy is None:
        yield "maxmemory-policy could not be looked at (INFO is refused); it must be noeviction"
    elif policy != "noeviction":
        yield f"maxmemory-policy is {policy}, which may delete queued messages; set noeviction"


def _persistence(aof: str | None, save: str | None) -> Iterator[str]:
    if aof == "1" or save:
        return
    if aof is None or save is None:
        yield (
            "whether the server keeps its data over a restart could not be looked at; set"
            " appendonly yes"
        )
    else:
        yield "the server keeps nothing over a restart; set appendonly yes"


def _rights(missing: Any) -> Iterator[str]:
    if missing:
        names = ", ".join(sorted(name.decode() for name in missing))
        yield f"the user may not use {names}; docs/protocol.md lists the rights it needs"


async def _config(call: Call, names: Names) -> dict[str, str]:
    answer = await _answer(call, names, "CONFIG", "GET", "maxmemory-policy", "save")
    words = [word.decode() for word in answer] if isinstance(answer, list) else []
    return dict(zip(words[::2], words[1::2], strict=True))


async def _answer(call: Call, names: Names, *words: str) -> Any:
    return await _quietly(call, command(names.ticks.slot, *words))


async def _quietly(call: Call, request: Request) -> Any:
    try:
        return await call(request)
    except StoreError:
        return None  # forbidden; what follows says what could not be looked at


def _pairs(info: bytes | None) -> Iterator[tuple[str, str]]:
    for line in (info or b"").decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value
