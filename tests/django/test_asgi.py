"""The wrapper, spoken to as a server speaks to it."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import Ear, arows
from tests.django.server import Server, serving
from vtasks_asgi import asgi, host
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.exceptions import ConfigurationError, StoreUnavailable
from vtasks_asgi.lifespan import ASGIApp
from vtasks_asgi.runtime.active import current, runtime_of
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.database.sqlite import SQLiteStore

type Event = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Event]]
type Send = Callable[[Event], Awaitable[None]]


@pytest.fixture(autouse=True)
def site(change: Change) -> None:
    change(
        ROOT_URLCONF="tests.django.site",
        ALLOWED_HOSTS=["testserver"],
        VTASKS_EMBEDDED="on",
        VTASKS_DRAIN_TIMEOUT=5,
    )


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    hub.add(ear)
    yield ear
    hub.remove(ear)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """With which options a runtime would have been made; none is."""
    made: list[object] = []
    monkeypatch.setattr(asgi, "assemble", lambda **options: made.append(options))
    return made


class Inner:
    """An application with a lifespan of its own; answers as told and remembers what it saw."""

    def __init__(self, *, startup: str = "complete", shutdown: str = "complete") -> None:
        self._answers = {"startup": startup, "shutdown": shutdown}
        self.seen: list[str] = []
        self.scopes: list[Event] = []
        self.active: list[Runtime | None] = []

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.active.append(current.get())
        if scope["type"] != "lifespan":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        for phase in ("startup", "shutdown"):
            event = await receive()
            self.seen.append(event["type"])
            answer: Event = {"type": f"lifespan.{phase}.{self._answers[phase]}"}
            if self._answers[phase] == "failed":
                answer["message"] = f"{phase} went wrong"
            if phase == "startup":
                scope["state"]["from the application"] = True
            await send(answer)
            if answer["type"].endswith("failed"):
                return


def django() -> ASGIApp:
    return get_asgi_application()


# -- with Django, which has no lifespan


async def test_views_enqueue_and_the_worker_runs_it(ear: Ear) -> None:
    async with serving(get_worker_application(django())) as server:
        for path in ("/enqueue", "/aenqueue"):
            assert (await server.request(path)).status == 200
        await asyncio.to_thread(ear.wait, 2)
        assert (await server.request("/active")).body == b'{"active": true}'
    assert sorted(sample.SEEN) == ["from a sync view", "from an async view"]
    assert await arows() == {"messages": 0, "results": 2, "dead": 0}


async def test_health_and_metrics_are_answered_before_django(ear: Ear) -> None:
    async with serving(get_worker_application(django())) as server:
        await asyncio.to_thread(ear.wait_open)
        assert (await server.request("/vtasks/health/ready")).body == b'{"status":"ok"}'
        assert (await server.request("/vtasks/health/live")).status == 200
        assert (await server.request("/vtasks/health")).status == 200
        metrics = await server.request("/metrics")
        assert b"vtasks_queue_depth" in metrics.body
        head = await server.request("/metrics", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert (await server.request("/metrics", "POST")).status == 405
        assert (await server.request("/metrics/")).status == 404, "exact paths only: Django's"
        assert (await server.request("/hello")).body == b"hello"


async def test_readiness_follows_the_life_of_the_worker(ear: Ear) -> None:
    application = get_worker_application(django())
    server = Server(application)
    await server.startup()
    await asyncio.to_thread(ear.wait_open)
    assert (await server.request("/vtasks/health/ready")).status == 200
    await server.shutdown()
    answer = await server.request("/vtasks/health/ready")
    assert (answer.status, answer.body) == (503, b'{"status":"stopped"}')
    assert (await server.request("/vtasks/health/live")).status == 200


async def test_below_a_root_path(ear: Ear) -> None:
    application = get_worker_application(django())
    async with serving(application, root_path="/app") as server:
        await asyncio.to_thread(ear.wait_open)
        assert (await server.request("/vtasks/health/ready")).body == b'{"status":"ok"}'


async def test_paths_can_be_moved_and_turned_off() -> None:
    application = get_worker_application(django(), metrics_path=None, health_path="/h")
    async with serving(application) as server:
        assert (await server.request("/metrics")).body == b"hello", "Django's own now"
        assert (await server.request("/h/live")).status == 200
        assert (await server.request("/vtasks/health/live")).status == 404


async def test_settings_move_them_too(change: Change) -> None:
    change(VTASKS_METRICS_PATH=None, VTASKS_HEALTH_PATH="/h")
    async with serving(get_worker_application(django())) as server:
        assert (await server.request("/metrics")).body == b"hello"
        assert (await server.request("/h/live")).status == 200


async def test_the_runtime_is_active_in_requests_and_nowhere_else(ear: Ear) -> None:
    inner = Inner()
    async with serving(get_worker_application(inner)) as server:
        await asyncio.to_thread(ear.wait_open)
        await server.request("/anything")
        assert inner.active[-1] is not None
        assert runtime_of("default") is None
    await server.request("/anything")
    assert runtime_of("default") is None


# -- with an application that has a lifespan


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


# -- other scopes, other servers


@pytest.mark.parametrize("kind", ["websocket", "something.new"])
async def test_other_scopes_go_straight_through(kind: str, ear: Ear) -> None:
    inner = Inner()
    async with serving(get_worker_application(inner)) as server:
        await asyncio.to_thread(ear.wait_open)
        scope = {"type": kind, "path": "/metrics", "headers": []}
        await server.call(scope, [])
    assert inner.scopes[-1] is scope
    assert inner.active[-1] is not None


async def test_a_server_without_lifespan_is_noticed_once(
    caplog: pytest.LogCaptureFixture, change: Change
) -> None:
    change(DEBUG=True)
    server = Server(get_worker_application(django()))
    for _ in range(3):
        assert (await server.request("/hello")).body == b"hello"
    [line] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert "lifespan" in line.getMessage()
    assert "--interface asgi" in line.getMessage()
    ready = await server.request("/vtasks/health/ready")
    assert (ready.status, ready.body) == (503, b'{"status":"stopped"}')
    assert b"lifespan_not_run" in (await server.request("/vtasks/health")).body
    assert (await server.request("/enqueue")).status == 200, "enqueueing works all the same"


async def test_a_server_with_lifespan_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(get_worker_application(django())) as server:
        await server.request("/hello")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


# -- embedded or not


async def test_not_embedded_only_the_pages_are_there(change: Change) -> None:
    change(VTASKS_EMBEDDED="off")
    async with serving(get_worker_application(django())) as server:
        assert (await server.request("/vtasks/health/ready")).body == b'{"status":"ok"}'
        assert (await server.request("/metrics")).status == 200
        assert (await server.request("/active")).body == b'{"active": false}'
        assert (await server.request("/enqueue")).status == 200
    assert (await arows())["messages"] == 1


@pytest.mark.parametrize(
    ("program", "embedded"),
    [
        ("manage.py", False),
        ("/srv/site/manage.py", False),
        ("/usr/bin/django-admin", False),
        ("/lib/python3.13/site-packages/django/__main__.py", False),
        ("/usr/bin/granian", True),
        ("/lib/python3.13/site-packages/granian/__main__.py", True),
        ("uvicorn", True),
        ("", True),
    ],
)
async def test_auto_is_off_in_management_commands(
    program: str,
    embedded: bool,
    change: Change,
    made: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(VTASKS_EMBEDDED="auto")
    monkeypatch.setattr(sys, "argv", [program, "x"])
    async with serving(get_worker_application(Inner())):
        assert bool(made) is embedded


@pytest.mark.parametrize(
    ("argument", "setting", "embedded"),
    [("off", "on", False), (False, "on", False), ("on", "off", True), (True, "off", True)],
)
async def test_the_argument_wins_over_the_setting(
    argument: str | bool, setting: str, embedded: bool, change: Change, made: list[object]
) -> None:
    change(VTASKS_EMBEDDED=setting)
    async with serving(get_worker_application(Inner(), embedded=argument)):
        assert bool(made) is embedded


async def test_arguments_reach_the_runtime(made: list[object]) -> None:
    application = get_worker_application(
        Inner(), backend="default", queues=["default"], scheduler=False
    )
    async with serving(application):
        assert made == [{"backend": "default", "queues": ["default"], "scheduler": False}]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"embedded": "sometimes"}, "embedded is 'sometimes'; it must be 'auto', 'on' or 'off'"),
        ({"embedded": 5}, "embedded is 5"),
        ({"backend": "nowhere"}, "nowhere"),
        ({"metrics_path": "metrics"}, "VTASKS_METRICS_PATH is 'metrics'"),
        ({"health_path": "/metrics"}, "VTASKS_METRICS_PATH '/metrics' is also a health page"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        get_worker_application(Inner(), **arguments)


def test_wrong_settings_are_refused(change: Change) -> None:
    change(VTASKS_LEASE=0)
    with pytest.raises(ConfigurationError, match="VTASKS_LEASE"):
        get_worker_application(Inner())


def test_a_backend_without_a_worker_is_refused(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
    with pytest.raises(ConfigurationError, match="has no worker; use"):
        get_worker_application(Inner())


# -- stopping


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that reached the server's own handlers."""
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda n, frame: heard.append(n))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_is_heard_at_once_and_left_to_the_server(
    number: int, handled: list[int], ear: Ear
) -> None:
    before = signal.getsignal(number)
    async with serving(get_worker_application(django())) as server:
        await asyncio.to_thread(ear.wait_open)
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
        assert handled == [number]
        ready = await server.request("/vtasks/health/ready")
        assert (ready.status, ready.body) == (503, b'{"status":"draining"}')
        assert (await server.request("/aenqueue")).status == 200, "requests go on"
    assert signal.getsignal(number) is before, "the server's handler is back"
    assert (await arows())["messages"] == 1, "nothing was claimed after the signal"


async def test_signals_nobody_handles_are_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        async with serving(get_worker_application(django())):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_than_the_main_one(ear: Ear) -> None:
    async def main() -> None:
        async with serving(get_worker_application(django())) as server:
            await asyncio.to_thread(ear.wait_open)
            assert (await server.request("/vtasks/health/ready")).status == 200

    errors: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20.0)
    assert not thread.is_alive()
    assert errors == []


async def test_a_worker_that_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(self: Runtime) -> None:
        await asyncio.Event().wait()

    change(VTASKS_DRAIN_TIMEOUT=0)
    monkeypatch.setattr(host, "SHUTDOWN_MARGIN", 0.02)
    monkeypatch.setattr(Runtime, "run", run)
    async with serving(get_worker_application(Inner())):
        pass
    assert "did not stop in time" in caplog.text


async def test_a_worker_that_dies_does_not_take_the_site_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(self: Runtime) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(Runtime, "run", run)
    async with serving(get_worker_application(Inner())) as server:
        await asyncio.sleep(0)
        assert (await server.request("/anything")).status == 204
    assert "The task runtime died" in caplog.text
    assert "a bug of ours" in caplog.text
