"""The wrapper in front of Django, spoken to as a server speaks to it."""

import asyncio
import logging

import pytest

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import Ear, arows
from tests.django.server import Inner, Server, django, serving
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.runtime.active import runtime_of

pytestmark = pytest.mark.usefixtures("site")


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
