"""``manage.py clear_queue``: what it deletes, what it never does, and that it asks first."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.tasks import task_backends
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import BACKENDS, each_backend
from tests.django.helpers import run
from vtasks_asgi.assembly import opened
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.store.base import QueueStats

__all__ = ["each_backend"]

QUEUES = ["default", "mail", "low"]
MEMORY = {"BACKEND": f"{BACKENDS}.memory.MemoryTaskBackend"}


@pytest.fixture(autouse=True)
def queues(each_backend: object, change: Change) -> None:
    """Each test on each kind of store."""
    change(VTASKS_QUEUES=QUEUES)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], list[str]]:
    """What is answered to the prompt, None for the end of the input; the prompts shown."""

    def answer(text: str | None) -> list[str]:
        prompts: list[str] = []

        def ask(prompt: str) -> str:
            prompts.append(prompt)
            if text is None:
                raise EOFError
            return text

        monkeypatch.setattr("builtins.input", ask)
        return prompts

    return answer


def clear(*options: str) -> str:
    """Run the command; what it wrote."""
    stdout = StringIO()
    call_command("clear_queue", *options, stdout=stdout)
    return stdout.getvalue()


def stats() -> dict[str, QueueStats]:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)

    async def look() -> dict[str, QueueStats]:
        async with opened(backend) as store:
            return await store.stats(QUEUES)

    return asyncio.run(look())


def counts() -> dict[str, tuple[int, int, int]]:
    """Waiting, running and dead messages of each queue."""
    found = stats()
    return {q: (found[q].ready + found[q].delayed, found[q].running, found[q].dead) for q in found}


def fill() -> None:
    """In each queue one dead letter and one result, then one ready and one delayed message."""
    for queue in QUEUES:
        sample.fails.using(queue_name=queue).enqueue()
        sample.note.using(queue_name=queue).enqueue("ran")
    run(6)
    for queue in QUEUES:
        sample.note.using(queue_name=queue).enqueue("ready")
        later = timezone.now() + timedelta(days=1)
        sample.note.using(queue_name=queue, run_after=later).enqueue("delayed")


def test_one_queue(answer: Callable[[str | None], list[str]]) -> None:
    fill()
    prompts = answer("yes")
    told = clear("--backend-alias=default", "--queue=mail")
    assert prompts == ["Type 'yes' to delete them: "]
    assert told == (
        "To be deleted from backend 'default', waiting messages:\n"
        "  mail: 2 (0 running stay)\n"
        "mail: deleted 2\n"
    )
    assert counts() == {"default": (2, 0, 1), "mail": (0, 0, 1), "low": (2, 0, 1)}


def test_without_a_queue_it_is_the_default_one() -> None:
    fill()
    assert clear("--force").endswith("default: deleted 2\n")
    assert counts() == {"default": (0, 0, 1), "mail": (2, 0, 1), "low": (2, 0, 1)}


def test_several_queues() -> None:
    fill()
    clear("--queue", "mail", "--queue", "low", "--queue", "mail", "--force")
    assert counts() == {"default": (2, 0, 1), "mail": (0, 0, 1), "low": (0, 0, 1)}


def test_all_queues() -> None:
    fill()
    told = clear("--all-queues", "--force")
    assert told.count("deleted 2\n") == 3
    assert counts() == dict.fromkeys(QUEUES, (0, 0, 1))


def test_the_failed_of_all_queues() -> None:
    fill()
    told = clear("--failed", "--force")
    assert "dead letters:\n  default: 1 (0 running stay)\n  mail: 1 " in told
    assert told.count("deleted 1\n") == 3
    assert counts() == dict.fromkeys(QUEUES, (2, 0, 0))


def test_the_failed_of_one_queue() -> None:
    fill()
    clear("--failed", "--queue=mail", "--force")
    assert counts() == {"default": (2, 0, 1), "mail": (2, 0, 0), "low": (2, 0, 1)}


def test_results_stay() -> None:
    result = sample.note.enqueue("x")
    run(1)
    clear("--all-queues", "--force")
    clear("--all-queues", "--failed", "--force")
    result.refresh()
    assert result.status == "SUCCESSFUL"


def test_running_messages_stay() -> None:
    sample.note.enqueue("running")
    sample.note.enqueue("ready")
    backend: Any = task_backends["default"]

    async def claim() -> None:
        async with opened(backend) as store:
            await store.claim("default", 1, worker="other", lease=60.0)

    asyncio.run(claim())
    assert "default: 1 (1 running stay)" in clear("--force")
    clear("--failed", "--force")
    assert counts()["default"] == (0, 1, 0)


def test_nothing_to_delete_is_no_error() -> None:
    assert clear("--queue=mail", "--force").endswith("mail: deleted 0\n")


def test_a_queue_that_is_no_longer_configured_can_be_cleared(change: Change) -> None:
    sample.note.using(queue_name="mail").enqueue("x")
    change(VTASKS_QUEUES=["default"])
    told = clear("--queue=mail", "--force")
    assert "mail: 1 (0 running stay, not in the settings)" in told
    assert told.endswith("mail: deleted 1\n")


def test_all_queues_are_also_those_that_are_no_longer_configured(change: Change) -> None:
    change(VTASKS_QUEUES=[*QUEUES, "old", "older", "empty"])
    for queue in ("old", "empty"):
        sample.fails.using(queue_name=queue).enqueue()
        run(1)
    sample.note.using(queue_name="older").enqueue("x")
    clear("--failed", "--queue=empty", "--force")
    change(VTASKS_QUEUES=["default"])
    told = clear("--all-queues", "--force")
    assert "  default: 0 (0 running stay)\n" in told
    assert "  older: 1 (0 running stay, not in the settings)\n" in told
    assert "older: deleted 1\n" in told
    assert "empty" not in told
    told = clear("--failed", "--force")
    assert "  old: 1 (0 running stay, not in the settings)\n" in told
    assert "old: deleted 1\n" in told
    assert "old" not in clear("--failed", "--force")


@pytest.mark.parametrize("said", ["no", "", "y", None])
def test_anything_but_yes_deletes_nothing(
    answer: Callable[[str | None], list[str]], said: str | None
) -> None:
    sample.note.enqueue("x")
    answer(said)
    with pytest.raises(CommandError, match="Nothing was deleted") as raised:
        clear()
    assert raised.value.returncode == 3
    assert counts()["default"] == (1, 0, 0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--queue=mail", "--all-queues"], "not both"),
        (["--backend-alias=nowhere"], "nowhere"),
    ],
)
def test_wrong_options_delete_nothing(options: list[str], error: str) -> None:
    sample.note.using(queue_name="mail").enqueue("x")
    with pytest.raises(CommandError, match=error) as raised:
        clear(*options, "--force")
    assert raised.value.returncode == 1
    assert counts()["mail"] == (1, 0, 0)


def test_python_may_call_it_with_one_name() -> None:
    sample.note.using(queue_name="mail").enqueue("x")
    call_command("clear_queue", queue="mail", force=True, stdout=StringIO())
    assert counts()["mail"] == (0, 0, 0)


def test_another_alias(change: Change) -> None:
    change(TASKS={"default": MEMORY, "other": MEMORY})
    sample.note.using(backend="other").enqueue("x")
    assert clear("--backend-alias=other", "--force").endswith("default: deleted 1\n")


def test_a_store_that_cannot_be_opened_is_an_error(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connections

    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(tmp_path / "no" / "db"))
    change(TASKS={"default": {"BACKEND": f"{BACKENDS}.database.DatabaseTaskBackend"}})
    with pytest.raises(CommandError, match="unable to open"):
        clear("--force")


def test_backends_without_a_queue_are_refused(change: Change) -> None:
    for backend in (
        "vtasks_asgi.backends.immediate.ImmediateBackend",
        "django.tasks.backends.dummy.DummyBackend",
    ):
        change(TASKS={"default": {"BACKEND": backend}})
        with pytest.raises(CommandError, match="has no worker"):
            clear("--force")
