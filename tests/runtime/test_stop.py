"""Stopping and closing a runtime, whoever asks, whenever, and however often."""

import asyncio
import sys
import threading
from types import FrameType
from typing import Any

import pytest

from tests.runtime.helpers import PATIENCE, Gated, Scene, configured, turns
from vtasks_asgi.runtime.health import Status
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.base import State


async def test_a_stop_before_the_start_consumes_nothing() -> None:
    scene = Scene()
    await scene.push()
    scene.runtime.stop()
    async with scene.alive():
        await turns()
    assert scene.store.calls["claim"] == 0
    assert not scene.script.began


async def test_a_close_before_the_start_ends_at_once() -> None:
    scene = Scene()
    scene.runtime.close()
    await scene.run()
    assert scene.store.calls["open"] == 0
    assert scene.runtime.health().status is Status.STOPPED


async def test_a_close_without_a_stop_drains_too() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(drain_timeout=60.0))
    [id] = await scene.push()
    life = asyncio.create_task(scene.runtime.run())
    await scene.script.until_began()
    scene.runtime.close()
    await turns()
    assert not life.done()
    gate.release()
    await life
    assert (await scene.store.record(id)).state is State.DONE


async def test_stop_and_close_may_be_called_again_and_again() -> None:
    scene = Scene()
    async with scene.alive():
        await scene.until_open()
        for _ in range(3):
            scene.runtime.stop()
        await turns()
        scene.runtime.stop()
        for _ in range(3):
            scene.runtime.close()
    scene.runtime.stop()
    scene.runtime.close()
    assert scene.store.calls["aclose"] == 1


@pytest.mark.parametrize("ask", ["stop", "close"])
def test_a_signal_may_interrupt_it_anywhere(ask: str) -> None:
    """A second signal's handler runs between any two lines of the first one's."""

    def interrupt(frame: FrameType, event: str, arg: object) -> Any:
        sys.settrace(None)
        try:
            getattr(runtime, ask)()
        finally:
            sys.settrace(interrupt)
        return interrupt

    def trace() -> None:
        sys.settrace(interrupt)
        getattr(runtime, ask)()
        sys.settrace(None)

    runtime = Scene().runtime
    thread = threading.Thread(target=trace, daemon=True)
    thread.start()
    thread.join(timeout=5.0)
    assert not thread.is_alive(), "it waits for itself"


async def test_after_a_stop_the_store_stays_open_until_the_close() -> None:
    """Requests that are still draining may enqueue."""
    scene = Scene()
    async with scene.alive() as life:
        await scene.until_open()
        scene.runtime.stop()
        await turns()
        assert not life.done()
        await scene.store.push([])
        assert scene.store.calls["aclose"] == 0
    assert scene.store.calls["aclose"] == 1


async def test_another_thread_may_close_it() -> None:
    scene = Scene()
    life = asyncio.create_task(scene.runtime.run())
    await scene.until_open()
    thread = threading.Thread(target=scene.runtime.close)
    thread.start()
    async with asyncio.timeout(PATIENCE):
        await life
    thread.join()


def test_a_close_after_the_loop_is_closed_is_harmless() -> None:
    async def main() -> Runtime:
        scene = Scene()
        scene.runtime.close()
        await scene.runtime.run()
        return scene.runtime

    runtime = asyncio.run(main())
    runtime.stop()
    runtime.close()
    assert runtime.health().status is Status.STOPPED
