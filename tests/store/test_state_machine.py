"""Any order of verbs: an engine answers as the reference does, loses nothing and settles once.

Hypothesis drives both with the same calls and compares every answer, and after each step all that
an onlooker sees. ``--hypothesis-profile nightly`` walks more than 10,000 steps an engine.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.store.engines import Engine, Memory
from tests.store.helpers import browse_all
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, QueueStats, Record, Settlement, State

CAP = 3
QUEUES = ["one", "two"]
SCHEDULES = ["hourly", "nightly"]
LIVE = {State.READY, State.DELAYED, State.RUNNING}

# Waits end on halves and time moves in whole seconds: no engine has to agree on a dead heat.
DELAYS = st.sampled_from([None, -3.5, 0.5, 5.5, 40.5])
WAITS = st.sampled_from([0.0, 0.5, 20.5])
LEASES = st.sampled_from([10.5, 30.5])
STEPS = st.sampled_from([1, 6, 31])
LIMITS = st.integers(min_value=0, max_value=4)
WORKERS = st.sampled_from(["same", "other"])
PAYLOADS = st.binary(max_size=3)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, PAYLOADS, st.none() | PAYLOADS, st.sampled_from([0.0, 15.5, 90.5])),
    st.builds(Retry, PAYLOADS, WAITS),
    st.builds(Release, WAITS),
    st.builds(Dead, PAYLOADS, st.sampled_from(["worker_lost", "max_attempts"])),
)


@dataclass
class Held:
    """The same claim as the engine and as the reference handed it out."""

    engine: Claim
    model: Claim

    @property
    def id(self) -> str:
        return self.model.id


@dataclass
class Side:
    """An engine and a store on it."""

    engine: Engine
    store: FullStore


class StoreMachine(RuleBasedStateMachine):
    """One engine beside the reference."""

    kind: type[Engine] = Memory

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.real = self.side(self.kind)
        self.model = self.side(Memory)
        self.held: list[Held] = []
        self.pushed: list[Message] = []
        self.live: set[str] = set()  # stored, and not yet finished, purged or evicted

    def side(self, kind: type[Engine]) -> Side:
        engine = kind()
        engine.empty()
        return Side(engine, self.run(engine.opened(dead_letter_cap=CAP)))

    def teardown(self) -> None:
        for side in (self.real, self.model):
            self.run(side.engine.aclose())
        self.runner.close()

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def both(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Ask both the same; the answer, after comparing it."""
        real = self.run(getattr(self.real.store, verb)(*args, **kwargs))
        model = self.run(getattr(self.model.store, verb)(*args, **kwargs))
        assert real == model
        return real

    # -- what may happen

    @initialize()
    def nothing_yet(self) -> None:
        assert self.both("lookup", []) == {}

    @rule(
        queues=st.lists(st.sampled_from(QUEUES), min_size=1, max_size=5),
        priority=st.sampled_from([-100, 0, 1]),
        delay=DELAYS,
        body=PAYLOADS,
        again=st.booleans(),
    )
    def push(
        self, queues: list[str], priority: int, delay: float | None, body: bytes, again: bool
    ) -> None:
        ids = [new_id() for _ in queues]
        if again and self.pushed:
            ids[0] = self.pushed[len(body) % len(self.pushed)].id
        messages = {"real": [], "model": []}  # type: dict[str, list[Message]]
        for name, side in (("real", self.real), ("model", self.model)):
            run_at = None if delay is None else self.run(side.store.ticks([])).now + delay
            for id, queue in zip(ids, queues, strict=True):
                messages[name].append(Message(id, queue, body, priority, run_at))
        receipts = self.run(self.real.store.push(messages["real"]))
        assert receipts == self.run(self.model.store.push(messages["model"]))
        self.pushed += messages["model"]
        self.live |= {receipt.id for receipt in receipts if receipt.stored}

    @rule(queue=st.sampled_from(QUEUES), limit=LIMITS, worker=WORKERS, lease=LEASES)
    def claim(self, queue: str, limit: int, worker: str, lease: float) -> None:
        real, model = (
            self.run(side.store.claim(queue, limit, worker=worker, lease=lease))
            for side in (self.real, self.model)
        )
        assert real.next_due == self.near(model.next_due)
        self.take(real.claims, model.claims)

    @rule(queue=st.sampled_from(QUEUES), limit=LIMITS, worker=WORKERS, lease=LEASES)
    def reclaim(self, queue: str, limit: int, worker: str, lease: float) -> None:
        real, model = (
            self.run(side.store.reclaim(queue, limit, worker=worker, lease=lease))
            for side in (self.real, self.model)
        )
        for one, other in zip(real, model, strict=True):
            assert one.lost_worker == other.lost_worker
        self.take(real, model)

    def take(self, real: list[Claim], model: list[Claim]) -> None:
        for one, other in zip(real, model, strict=True):
            assert essence(one) == essence(other)
            assert one.run_at == self.near(other.run_at)
            assert one.token not in {held.engine.token for held in self.held if held.id == one.id}
            assert one.id in self.live
            self.held.append(Held(one, other))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), lease=LEASES)
    def extend(self, data: st.DataObject, lease: float) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.held), max_size=4, unique_by=id))
        real = self.real.store.extend([each.engine for each in chosen], lease=lease)
        model = self.model.store.extend([each.model for each in chosen], lease=lease)
        assert sorted(claim.id for claim in real) == sorted(claim.id for claim in model)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcomes=st.lists(OUTCOMES, min_size=1, max_size=4))
    def settle(self, data: st.DataObject, outcomes: list[Outcome]) -> None:
        chosen = [data.draw(st.sampled_from(self.held[-8:])) for _ in outcomes]
        # Two outcomes for one claim in one call: which of them wins is not promised.
        pairs = list(
            {
                each.model.token: (each, outcome)
                for each, outcome in zip(chosen, outcomes, strict=True)
            }.values()
        )
        real = self.run(
            self.real.store.settle([Settlement(each.engine, outcome) for each, outcome in pairs])
        )
        model = self.run(
            self.model.store.settle([Settlement(each.model, outcome) for each, outcome in pairs])
        )
        lost = {claim.token for claim in model.lost}
        assert {claim.token for claim in real.lost} == {
            each.engine.token for each, _ in pairs if each.model.token in lost
        }
        assert real.evicted == model.evicted
        for each, outcome in pairs:
            if each.model.token not in lost and isinstance(outcome, Done | Dead):
                assert each.id in self.live, "settled for the second time"
                self.live.remove(each.id)

    @rule(seconds=STEPS)
    def time_passes(self, seconds: int) -> None:
        for side in (self.real, self.model):
            self.run(side.engine.advance(float(seconds)))

    @rule(
        schedule=st.sampled_from(SCHEDULES),
        at=st.integers(min_value=0, max_value=5),
        queue=st.none() | st.sampled_from(QUEUES),
    )
    def tick(self, schedule: str, at: int, queue: str | None) -> None:
        message = None if queue is None else Message(new_id(), queue, b"tick")
        fired = self.both("push_tick", schedule, at / 2, message)
        if message is not None and fired:
            self.pushed.append(message)
            self.live.add(message.id)
        elif message is not None:
            assert self.both("lookup", [message.id]) == {}

    @precondition(lambda self: self.pushed)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        known = [message.id for message in self.pushed]
        chosen = data.draw(st.lists(st.sampled_from(known), max_size=6))
        dead = {
            id
            for id, record in self.run(self.model.store.lookup(chosen)).items()
            if record.state is State.DEAD
        }
        assert self.both("requeue", chosen) == len(dead)
        self.live |= dead

    @rule(
        queue=st.sampled_from(QUEUES),
        state=st.sampled_from([State.READY, State.DELAYED, State.DONE, State.DEAD]),
    )
    def purge(self, queue: str, state: State) -> None:
        gone = {record.id for record in self.run(browse_all(self.model.store, state, queue))}
        assert self.both("purge", queue, state) >= len(gone)  # unseen: results past their time
        self.live -= gone

    @rule(limit=LIMITS)
    def prune(self, limit: int) -> None:
        self.both("prune", limit)

    @rule()
    def restart(self) -> None:
        for side in (self.real, self.model):
            self.run(side.store.aclose())
            side.store = self.run(side.engine.opened(dead_letter_cap=CAP))

    # -- what must always hold

    @invariant()
    def onlookers_see_the_same(self) -> None:
        known = [message.id for message in self.pushed]
        real, model = (self.run(side.store.lookup(known)) for side in (self.real, self.model))
        assert {id: seen(record) for id, record in real.items()} == {
            id: seen(record) for id, record in model.items()
        }
        for id, record in model.items():
            assert real[id].run_at == self.near(record.run_at) or record.state is not State.DELAYED
        self.compare_numbers()
        self.compare_pages()
        assert self.run(self.real.store.ticks(SCHEDULES)).last == (
            self.run(self.model.store.ticks(SCHEDULES)).last
        )

    def compare_numbers(self) -> None:
        real, model = (self.run(side.store.stats(QUEUES)) for side in (self.real, self.model))
        for queue in QUEUES:
            assert counts(real[queue]) == counts(model[queue])
            assert real[queue].oldest_ready == self.near(model[queue].oldest_ready)

    def compare_pages(self) -> None:
        for queue in QUEUES:
            for state in State:
                real, model = (
                    self.run(browse_all(side.store, state, queue, page=3))
                    for side in (self.real, self.model)
                )
                assert sorted(map(seen, real)) == sorted(map(seen, model))

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was stored and not finished is there, in exactly one queue and state."""
        found = self.run(self.real.store.lookup(sorted(self.live)))
        assert set(found) == self.live
        assert {record.state for record in found.values()} <= LIVE
        total = self.run(self.real.store.stats(QUEUES)).values()
        assert sum(each.ready + each.delayed + each.running for each in total) == len(self.live)

    def near(self, seconds: float | None) -> Any:
        """Equal within what the engine's own clock allows."""
        if seconds is None:
            return None
        return pytest.approx(seconds, abs=max(self.real.engine.tolerance, 1e-3))


def essence(claim: Claim) -> Claim:
    """A claim without what may differ between two stores."""
    return replace(claim, token="", handle=None, run_at=None, lost_at=None)


def counts(stats: QueueStats) -> QueueStats:
    return replace(stats, oldest_ready=None)


def seen(record: Record) -> tuple[Any, ...]:
    """What the contract says an onlooker sees of a record in its state, times aside."""
    common = (record.id, record.queue, str(record.state), record.body, record.priority)
    if record.state is State.DONE:
        return (*common, record.history, repr(record.value))
    tries = (record.attempt, record.crashes, repr(record.history))
    if record.state is State.DEAD:
        return (*common, *tries, record.reason)
    return (*common, *tries, repr(record.worker), record.started_at is None)


def test_any_order_of_verbs(engine_kind: type[Engine]) -> None:
    machine = type("Machine", (StoreMachine,), {"kind": engine_kind})
    fewer = settings(max_examples=settings().max_examples // 6)
    run_state_machine_as_test(machine, settings=fewer)
