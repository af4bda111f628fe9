"""The examples of docs/groups.md run as they stand there."""

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vtasks_asgi.testing import drain, memory_tasks

DOCUMENT = (Path(__file__).parents[2] / "docs" / "groups.md").read_text("utf-8")
TASKS, ENQUEUE, LOOK, THEN, CHAIN = re.findall(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the examples have defined so far; the tasks are in ``shop.tasks``."""
    shop, tasks = ModuleType("shop"), ModuleType("shop.tasks")
    monkeypatch.setitem(sys.modules, "shop", shop)
    monkeypatch.setitem(sys.modules, "shop.tasks", tasks)
    with memory_tasks():
        exec(TASKS, vars(tasks))
        yield dict(vars(tasks))


def run(sample: str, names: dict[str, Any]) -> None:
    """As in a shell, where a line may await."""
    code = compile(sample, "docs/groups.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


def test_a_group_and_a_look_at_it(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(ENQUEUE, names)
    ran = drain()
    assert len(ran) == 21
    assert ran[-1].return_value == [f"{image}-400.webp" for image in range(20)]
    told = capsys.readouterr().out.splitlines()
    assert told == [f"{names['made'].id} 20", "spring: 20 of 20 images"]
    run(LOOK, names)
    assert names["progress"].done
    assert names["failed"] == []


def test_the_same_in_a_coroutine(names: dict[str, Any]) -> None:
    sample = ENQUEUE.replace("made = group(", "made = await agroup(")
    run(sample.replace("made.progress()", "(await made.aprogress())"), names)
    drain()
    look = LOOK.replace("found.wait(", "await found.await_done(").replace(
        "found.progress()", "await found.aprogress()"
    )
    run(look.replace("found.members()", "(await found.amembers())"), names)
    assert names["progress"].succeeded == 20


def test_one_after_another(names: dict[str, Any]) -> None:
    run(THEN, names)
    names["restock"].enqueue(3)
    values = [each.return_value for each in drain()]
    assert values == [
        "7-800.webp",
        30,
        "to ada@example.org: 7-800.webp",
        "to stock@example.org: 30",
    ]


def test_a_callback_with_another_one(names: dict[str, Any]) -> None:
    run("from vtasks_asgi import group", names)
    run(CHAIN, names)
    assert [each.return_value for each in drain()] == [
        "1-800.webp",
        ["1-800.webp"],
        "to chief@example.org: ['1-800.webp']",
    ]
