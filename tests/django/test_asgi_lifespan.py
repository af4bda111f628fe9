"""Lifespan: an application's own inside ours, and what stops a server from starting."""

import asyncio

import pytest

from tests.django.conftest import Change
from tests.django.helpers import Ear
from tests.django.server import Event, Inner, Receive, Send, Server, django, serving
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.exceptions import StoreUnavailable
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.database.sqlite.store import SQLiteStore

pytestmark = pytest.mark.usefixtures("site")


async def test_its_lifespan_runs_inside_ours_and_shares_the_state() -> None:
    inner = Inner()
    async with serving(get_worker_application(inner)) as server:
        assert inner.seen == ["lifespan.startup"]
        assert server.state == {"from the application": True}
        await server.request("/anything")
        assert inner.scopes[-1]["state"] == {"from the application": True}
    assert inner.seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_it_is_stopped_after_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[list[str]] = []
    inner = Inner()
    original = Runtime.run

    async def run(self: Runtime) -> None:
        await original(self)
        ended.append(list(inner.seen))

    monkeypatch.setattr(Runtime, "run", run)
    async with serving(get_worker_application(inner)):
        pass
    assert ended == [["lifespan.startup"]]


async def test_its_failure_to_start_is_ours_and_no_worker_starts(made: list[object]) -> None:
    server = Server(get_worker_application(Inner(startup="failed")))
    answer = await server.startup()
    assert answer == {"type": "lifespan.startup.failed", "message": "startup went wrong"}
    assert made == []


async def test_its_failure_to_stop_is_told_and_the_worker_has_stopped(ear: Ear) -> None:
    server = Server(get_worker_application(Inner(shutdown="failed")))
    await server.startup()
    await asyncio.to_thread(ear.wait_open)
    answer = await server.shutdown()
    assert answer == {"type": "lifespan.shutdown.failed", "message": "shutdown went wrong"}
    assert (await server.request("/vtasks/health")).body == b'{"status":"stopped"}'


async def test_one_that_breaks_while_serving_is_told_at_the_end() -> None:
    async def broken(scope: Event, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("broke later")

    server = Server(get_worker_application(broken))
    await server.startup()
    answer = await server.shutdown()
    assert answer == {"type": "lifespan.shutdown.failed", "message": "broke later"}


async def test_one_that_returns_without_an_answer_has_none() -> None:
    async def silent(scope: Event, receive: Receive, send: Send) -> None:
        return

    async with serving(get_worker_application(silent)):
        pass


async def test_one_that_answers_and_ends_at_once_is_heard() -> None:
    async def quick(scope: Event, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    server = Server(get_worker_application(quick))
    assert await server.startup() == {"type": "lifespan.startup.failed", "message": "no"}


async def test_when_the_worker_cannot_start_neither_does_the_server(change: Change) -> None:
    inner = Inner()
    server = Server(get_worker_application(inner, queues=["default", "mial"]))
    answer = await server.startup()
    assert answer["type"] == "lifespan.startup.failed"
    assert "queue 'mial'" in answer["message"]
    assert "VTASKS_QUEUES" in answer["message"]
    assert inner.seen == ["lifespan.startup", "lifespan.shutdown"], "it had started already"


async def test_a_schedule_that_is_wrong_stops_the_start(change: Change) -> None:
    change(VTASKS_SCHEDULE={"nightly": {"task": "a.b", "schedule": 5}})
    answer = await Server(get_worker_application(django())).startup()
    assert answer["type"] == "lifespan.startup.failed"
    assert "VTASKS_SCHEDULE['nightly']" in answer["message"]


async def test_a_store_that_is_down_does_not(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    original, failures = SQLiteStore.open, iter([True, False])

    async def failing_once(self: SQLiteStore) -> None:
        if next(failures, False):
            raise StoreUnavailable("not yet")
        await original(self)

    monkeypatch.setattr(SQLiteStore, "open", failing_once)
    async with serving(get_worker_application(django())) as server:
        await asyncio.sleep(0)
        answer = await server.request("/vtasks/health/ready")
        assert (answer.status, answer.body) == (503, b'{"status":"starting"}')
        assert (await server.request("/hello")).body == b"hello"
        await asyncio.to_thread(ear.wait_open)
        assert (await server.request("/vtasks/health/ready")).status == 200
