"""The slow chores, and that they never take more than a small share of the time."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.fakes import FakeClock
from tests.runtime.helpers import QUEUE, Recorder, configured, push
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.runtime import housekeeping
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.housekeeping import Housekeeper
from vtasks_asgi.store.base import QueueStats, Settlement
from vtasks_asgi.store.memory import MemoryStore


class Slow(MemoryStore):
    """Remembers when it was asked, by the loop's time; counting takes as long as told."""

    def __init__(self, clock: FakeClock, takes: float = 0.0) -> None:
        super().__init__(clock=clock)
        self._fake, self._takes = clock, takes
        self.pruned: list[tuple[float, int]] = []
        self.counted: list[float] = []

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self.counted.append(asyncio.get_running_loop().time())
        self._fake.advance(self._takes)
        return await super().stats(queues)

    async def prune(self, limit: int) -> int:
        count = await super().prune(limit)
        self.pruned.append((asyncio.get_running_loop().time(), count))
        return count


async def expired(store: MemoryStore, clock: FakeClock, count: int) -> None:
    """That many results whose time is over."""
    await store.open()
    await push(store, count)
    claims = (await store.claim(QUEUE, count, worker="me", lease=30.0)).claims
    await store.settle([Settlement(claim, Done(b"[]", None, 60.0)) for claim in claims])
    clock.advance(61.0)


def test_expired_results_go_in_chunks_without_pause_then_it_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "PRUNE_CHUNK", 3)
    clock = FakeClock()
    store = Slow(clock)
    keeper = Housekeeper(store, config=configured(prune_every=60.0), events=Events(), clock=clock)

    async def main() -> None:
        await expired(store, clock, 7)
        pruning = asyncio.create_task(keeper.prune())
        await asyncio.sleep(59.0)
        assert [count for _, count in store.pruned] == [3, 3, 1]
        await asyncio.sleep(2.0)
        assert store.pruned[3][0] == pytest.approx(60.0, abs=0.5)
        pruning.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize(("takes", "pause"), [(0.0, 5.0), (0.1, 5.0), (2.0, 40.0)])
def test_looking_at_the_queues_takes_a_twentieth_of_the_time_at_most(
    takes: float, pause: float
) -> None:
    clock, recorder = FakeClock(), Recorder()
    store = Slow(clock, takes)
    keeper = Housekeeper(
        store, config=configured(sample_every=5.0), events=Events([recorder]), clock=clock
    )

    async def main() -> None:
        await store.open()
        await push(store, 2)
        sampling = asyncio.create_task(keeper.sample())
        await asyncio.sleep(100.0)
        sampling.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    gaps = [b - a for a, b in zip(store.counted, store.counted[1:], strict=False)]
    assert gaps == [pytest.approx(pause)] * len(gaps)
    assert len(gaps) >= 2
    assert keeper.stats[QUEUE].ready == 2
    assert recorder.all("sampled")[0][0][QUEUE].ready == 2
