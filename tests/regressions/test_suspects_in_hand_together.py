"""Of messages claimed together that had crashed twice, the first one's crash was charged to all."""

import pytest

from tests.runtime.helpers import QUEUE, Gated, Scene, configured, turns
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER
from vtasks_asgi.store.base import State


@pytest.fixture
def scene() -> Scene:
    return Scene(Gated(), config=configured(PoolConfig((QUEUE,), 5)))


def suspect(scene: Scene, ids: list[str]) -> None:
    for id in ids:
        scene.memory._entries[id].record.crashes = SUSPECTED_AFTER


async def states(scene: Scene, ids: list[str]) -> list[State]:
    return [(await scene.store.record(id)).state for id in ids]


async def test_all_but_the_one_that_runs_are_given_back_first(scene: Scene) -> None:
    gated = scene.script.work
    assert isinstance(gated, Gated)
    ids = await scene.push(3)
    suspect(scene, ids)
    async with scene.alive():
        await scene.script.until_began()
        assert await states(scene, ids) == [State.RUNNING, State.READY, State.READY]
        for id in ids[1:]:
            assert (await scene.store.record(id)).attempt == 0
        scene.runtime.stop()
        gated.release()


async def test_what_has_ended_is_written_before_a_suspect_runs(scene: Scene) -> None:
    gated = scene.script.work
    assert isinstance(gated, Gated)
    [first] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        settling = scene.store.hold("settle")
        gated.release()
        await settling.reached.wait()
        [suspected] = await scene.push()
        suspect(scene, [suspected])
        await turns()
        assert len(scene.script.began) == 1, "it waits"
        settling.opened.set()
        await scene.script.until_began(2)
        assert (await scene.store.record(first)).state is State.DONE
        gated.release()
