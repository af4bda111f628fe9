"""Duplicates within a bulk and between threads, and who is told of them."""

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.tasks.signals import task_enqueued

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import AnyResult, rows, run
from tests.django.unique_ways import EACH_WAY, Way, many, note
from vtasks_asgi.runtime.events import Listener, hub

pytestmark = EACH_DATABASE

if TYPE_CHECKING:
    from vtasks_asgi.backends.base import Item


def test_a_bulk_answers_each_in_order() -> None:
    existing = note.using(on_duplicate="existing")
    items: list[Item] = [
        (note, ["x"], {}),
        (sample.note, ["x"], {}),
        (note, ["x"], {}),
        (existing, ["x"], {}),
        (note, ["y"], {}),
    ]
    one, plain, none, first, other = many(items)
    assert none is None
    assert one is not None
    assert first is not None
    assert first.id == one.id
    assert plain is not None
    assert other is not None
    assert rows()["messages"] == 3
    run(3)
    assert sample.SEEN.count("x") == 2


def test_a_wrong_key_in_a_bulk_writes_nothing() -> None:
    with pytest.raises(IndexError):
        many([(note, ["x"], {}), (sample.note.using(unique_key=lambda v: str(v[5])), ["y"], {})])
    assert rows()["messages"] == 0
    assert note.enqueue("x")


def test_of_many_threads_one_is_accepted() -> None:
    answers: list[AnyResult | None] = []

    def work() -> None:
        try:
            answers.extend(note.enqueue("x") for _ in range(5))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert len([answer for answer in answers if answer]) == 1
    assert rows()["messages"] == 1


# -- who is told


def test_nobody_is_asked_for_a_holder_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*args: Any) -> None:
        raise AssertionError("a look-up")

    note.enqueue("x")
    monkeypatch.setattr(type(note.get_backend().store), "lookup_sync", asked)
    assert note.enqueue("x") is None
    waiting = sample.note.using(debounce=60, unique_key="y", on_duplicate="existing")
    assert waiting.enqueue(1).id == waiting.enqueue(1).id


class Counts(Listener):
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, int]] = []

    def submitted(self, task: str, queue: str, count: int) -> None:
        self.told.append(("submitted", task, queue, count))

    def duplicate(self, task: str, queue: str, count: int) -> None:
        self.told.append(("duplicate", task, queue, count))


@EACH_WAY
def test_only_what_is_stored_is_announced_and_the_rest_counted(way: Way) -> None:
    heard: list[str] = []

    def hear(task_result: AnyResult, **kwargs: Any) -> None:
        heard.append(task_result.id)

    counts = Counts()
    hub.add(counts)
    task_enqueued.connect(hear)
    try:
        first = way(note, "x")
        way(note.using(on_duplicate="existing"), "x")
        way(note, "x")
    finally:
        task_enqueued.disconnect(hear)
        hub.remove(counts)
    assert first is not None
    assert heard == [first.id]
    where = ("tests.django.sample.note", "default", 1)
    assert counts.told == [("submitted", *where), ("duplicate", *where), ("duplicate", *where)]
