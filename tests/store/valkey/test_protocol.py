"""docs/protocol.md says what is true: keys, rights, and a producer of nothing but valkey-cli."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.missing import need
from tests.services.valkey import Valkey
from tests.store.helpers import (
    DEAD,
    DONE,
    QUEUE,
    bury,
    now,
    push,
    pushed_and_taken,
    settle,
    take,
    take_one,
)
from tests.store.server_time import every_script
from tests.store.valkey.opening import opened
from vtasks_asgi.core import envelope
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done, Retry
from vtasks_asgi.store.groups import NewGroup
from vtasks_asgi.store.valkey import selfcheck

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "protocol.md").read_text("utf-8")


async def test_every_key_there_is_stands_in_the_document(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        await push(it, 2, run_at=await now(it) + 60)
        await push(it, 4)
        unique = Message(new_id(), QUEUE, b"", unique="key")
        await it.push([unique])
        await it.push([Message(new_id(), QUEUE, b"", line=1) for _ in range(2)])
        await it.push([Message(new_id(), "empty", b"", limit=Limit("key", None, 9.0))])
        await settle(it, await take_one(it), Done(b"h", b"v", 60.0))
        await settle(it, await take_one(it), Retry(b"h", 0.0))
        await bury(it)
        [running] = await take(it, 1)
        running.note = b"a note"
        await it.save(running)
        await it.cancel([running.id])
        await push(it)
        await it.push_tick("nightly", 5.0, unique)
        for _ in range(2):
            await it.claim("empty", 1, worker="w", lease=1.0)
        await it.pause("empty")
        await it.pause_task("app.task")
        bounded = Message(new_id(), QUEUE, b"", limit=Limit("key", 1, 60.0))
        await it.push([bounded])
        await take(it)
        await push(it)
        await it.push([Message(new_id(), QUEUE, b"", line=1)])
        valkey.ask("HSET", "vt:{*}:intents", "left", "behind")
        await it.open_group(NewGroup("id"), [])
        await it.close_groups(["id"])
        await it.open_group(NewGroup("other"), [unique])
    documented = set(re.findall(r"^\| `([^`]+)` \| (\w[\w ]*) \|", DOCUMENT, re.MULTILINE))
    types = {"zset": "sorted set"}
    found = set()
    for key in valkey.ask("KEYS", "*"):
        kind = valkey.ask("TYPE", key)
        name = re.sub(r"\{(default|empty)\}", "{queue}", key)
        name = re.sub(r"\{\*\d+\}(:[gm]:\w+)?", _group, name)
        found.add((name, types.get(kind, kind)))
        assert valkey.ask("TTL", key) == -1, "nothing may expire"
    assert found == documented


def _group(key: re.Match[str]) -> str:
    return "{*n}" + (key[1][:3] + "id" if key[1] else "")


def test_the_rights_are_those_the_scripts_use() -> None:
    [rule] = re.findall(r"```acl\nuser (.+)\n```", DOCUMENT)
    granted = set(re.findall(r"\+(\S+)", rule))
    used = {
        word.lower()
        for script in every_script()
        for word in re.findall(r"redis\.call\('(\w+)'", script.text)
    }
    around = {
        "eval",
        "evalsha",
        "ping",
        "client|setname",
        "select",
        "sadd",
        "smembers",
        "subscribe",
    }
    optional = {"info", "config|get", "cluster|slots", "asking"}
    assert granted == used | around | optional
    asked = set(re.findall(r"\{'(\w+)'", selfcheck.CHECK.text))
    assert {word.lower() for word in asked} == used | {"sadd", "smembers", "subscribe"}


async def test_a_producer_of_nothing_but_the_command_line(valkey: Valkey, tmp_path: Path) -> None:
    script, more = re.findall(r"```sh\n(.+?)```", DOCUMENT, re.DOTALL)
    cli = shutil.which("valkey-cli") or shutil.which("redis-cli")
    need("valkey-cli", None if cli else "not installed")
    valkey.empty()
    script = (
        (script + more).replace("valkey-cli", str(cli)).replace("python -m", f"{sys.executable} -m")
    )
    environment = {"PORT": str(valkey.port), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
    )
    assert (done.returncode, done.stderr) == (0, b"")
    async with opened(valkey.url) as it:
        claim = await pushed_and_taken(it, "other")  # queues do not disturb each other
        await settle(it, claim, DONE)
        [claim, bounded] = await take(it)
        call = envelope.decode(claim.body)
        assert (call.task, call.args, call.kwargs) == ("shop.tasks.send", [5], {"copy": True})
        assert len(claim.id) == 32
        assert claim.id in await it.lookup([claim.id])
        assert bounded.limit == Limit("orders of shop 5", 2, 0.5)
        assert (await settle(it, claim, DEAD)).lost == []
