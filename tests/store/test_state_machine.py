"""Any order of verbs: an engine answers as the reference does, loses nothing and settles once.

Hypothesis drives both with the same calls and compares every answer, and after each step all that
an onlooker sees. ``make nightly`` walks more than 10,000 steps an engine.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.store.compare import counts, essence, names, seen
from tests.store.engines import Engine, Memory
from tests.store.helpers import browse_all, ids, now
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Settlement, State, Ticked
from vtasks_asgi.store.control import Cancel

CAP = 2
QUEUES = ["one", "two"]
SCHEDULES = ["hourly", "nightly"]
LIVE = {State.READY, State.DELAYED, State.RUNNING}

QUEUE = st.sampled_from(["one", "one", "two"])
# Waits end on halves and time moves in whole seconds: no engine has to agree on a dead heat.
DELAY = st.sampled_from([None, None, None, -3.5, 0.5, 5.5, 40.5])
WAIT = st.sampled_from([0.0, 0.0, 0.5, 20.5])
LEASE = st.sampled_from([10.5, 30.5])
STEP = st.sampled_from([1, 6, 31])
LIMIT = st.sampled_from([0, 1, 2, 5, 5])
WORKER = st.sampled_from(["same", "other"])
DATA = st.binary(max_size=2)
# What follows ``run_at`` in a message: its unique key, how long that is kept, and debouncing.
KEY = st.sampled_from(["a", "b"])
UNIQUE = st.just(()) | st.tuples(KEY, st.sampled_from([None, None, 20.5]))
DEBOUNCE = st.tuples(KEY, st.sampled_from([None, 5.5]), st.just(5.5), st.sampled_from([None, 12.5]))
# Few keys and small numbers, so that they meet; paces miss whole and half seconds.
LIMITED = st.builds(
    Limit,
    st.sampled_from(["l", "m"]),
    st.sampled_from([None, 1, 2, 2]),
    st.sampled_from([None, None, 0.01, 7.3]),
).filter(lambda limit: limit.concurrency or limit.interval)
# As many as one push has messages at the most.
LINES = st.just((None,) * 4) | st.tuples(*[st.sampled_from([None, 0, 0, 7])] * 4)
OUTCOME: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, DATA, st.none() | DATA, st.sampled_from([0.0, 15.5, 90.5])),
    st.builds(Retry, DATA, WAIT),
    st.builds(Release, WAIT),
    st.builds(Dead, DATA, st.sampled_from(["worker_lost", "max_attempts"])),
)


OPERATIONS = ["requeue", "requeue", "purge", "prune", "restart", "browse", "browse", "pause"]
OPERATIONS += ["resume", "pause_task"]


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
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.real = self.side(self.kind)
        self.model = self.side(Memory)
        self.held: list[Held] = []
        self.known: dict[str, str] = {}  # each id, and the queue it was pushed to
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

    def ask(self, verb: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """What the engine and the reference answer to the same."""
        real = self.run(getattr(self.real.store, verb)(*args, **kwargs))
        return real, self.run(getattr(self.model.store, verb)(*args, **kwargs))

    def both(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """The answer that both of them give."""
        real, model = self.ask(verb, *args, **kwargs)
        assert real == model
        return real

    # -- what may happen

    @rule(
        queue=QUEUE,
        priorities=st.lists(st.sampled_from([-100, 0, 0, 1]), min_size=1, max_size=4),
        delay=DELAY,
        body=DATA,
        unique=UNIQUE | DEBOUNCE,
        waits=st.tuples(st.lists(st.none() | LIMITED, min_size=4, max_size=4), LINES),
    )
    def push(
        self,
        queue: str,
        priorities: list[int],
        delay: float | None,
        body: bytes,
        unique: tuple[Any, ...],
        waits: tuple[list[Limit | None], tuple[int | None, ...]],
    ) -> None:
        ids = [new_id() for _ in priorities]
        answers = []
        for side in (self.real, self.model):
            run_at = None if delay is None else self.run(now(side.store)) + delay
            messages = [
                replace(Message(id, queue, body, priority, run_at, *unique), line=line)
                for id, priority, line in zip(ids, priorities, waits[1], strict=False)
            ]
            for message, limit in zip(messages, waits[0], strict=False):
                message.limit = limit if self.kind.limits else None
            answers.append(self.run(side.store.push(messages)))
        assert answers[0] == answers[1]
        stored = {receipt.id for receipt in answers[0] if receipt.stored}
        assert unique or stored == set(ids)
        self.known |= dict.fromkeys(ids, queue)
        self.live |= stored

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def push_again(self, data: st.DataObject) -> None:
        again, fresh = data.draw(st.sampled_from(list(self.known)[-6:])), new_id()
        queue = self.known[again]
        receipts = self.both("push", [Message(id, queue, b"again") for id in (again, fresh, again)])
        assert [receipt.stored for receipt in receipts[1:]] == [True, False]
        self.known[fresh] = queue
        self.live |= {receipt.id for receipt in receipts if receipt.stored}

    @rule(queue=QUEUE, limit=LIMIT, worker=WORKER, lease=LEASE)
    def claim(self, queue: str, limit: int, worker: str, lease: float) -> None:
        self.claimed(queue, limit, worker, lease)

    def claimed(self, queue: str, limit: int, worker: str, lease: float) -> list[Held]:
        real, model = self.ask("claim", queue, limit, worker=worker, lease=lease)
        assert real.next_due == self.near(model.next_due)
        return self.take(real.claims, model.claims)

    @rule(queue=QUEUE, limit=LIMIT, worker=WORKER, lease=LEASE)
    def reclaim(self, queue: str, limit: int, worker: str, lease: float) -> None:
        self.reclaimed(queue, limit, worker, lease)

    def reclaimed(self, queue: str, limit: int, worker: str, lease: float) -> list[Held]:
        if self.kind.orders_ties:
            real, model = self.ask("reclaim", queue, limit, worker=worker, lease=lease)
            return self.take(real, model)
        # Take all or nothing: which of those that tie comes first is the engine's choice.
        limit = 1000 if limit else 0
        real, model = self.ask("reclaim", queue, limit, worker=worker, lease=lease)
        return self.take(*(sorted(each, key=lambda claim: claim.id) for each in (real, model)))

    def take(self, real: list[Claim], model: list[Claim]) -> list[Held]:
        taken = [Held(one, other) for one, other in zip(real, model, strict=True)]
        for each in taken:
            one, other = each.engine, each.model
            assert essence(one) == essence(other)
            assert one.run_at == self.near_time(other.run_at)
            assert one.token not in {held.engine.token for held in self.held if held.id == each.id}
            assert each.id in self.live
        self.held += taken
        return taken

    @precondition(lambda self: self.held)
    @rule(data=st.data(), lease=LEASE)
    def extend(self, data: st.DataObject, lease: float) -> None:
        some = data.draw(st.lists(st.sampled_from(self.held[-8:]), max_size=4))
        real = self.real.store.extend([each.engine for each in some], lease=lease)
        model = self.model.store.extend([each.model for each in some], lease=lease)
        lost = [(each.id, each.engine.token) for each in some if each.model in model]
        assert sorted(names(real)) == sorted(lost)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), note=st.none() | DATA, saved=st.booleans())
    def note(self, data: st.DataObject, note: bytes | None, saved: bool) -> None:
        """Change a claim's note; what is not saved is written when it is settled."""
        one = data.draw(st.sampled_from(self.held[-8:]))
        one.engine.note = one.model.note = note
        if saved:
            real = self.run(self.real.store.save(one.engine))
            assert real == self.run(self.model.store.save(one.model))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=OUTCOME, other=OUTCOME)
    def settle(self, data: st.DataObject, outcome: Outcome, other: Outcome) -> None:
        some = data.draw(
            st.lists(st.sampled_from(self.held[-8:]), min_size=1, max_size=4, unique_by=id)
        )
        self.write(some[:2], outcome)
        self.write(some[2:], other)

    @rule(queue=QUEUE, limit=LIMIT, outcome=OUTCOME)
    def work(self, queue: str, limit: int, outcome: Outcome) -> None:
        assert self.write(self.claimed(queue, limit, "same", 30.5), outcome) == []

    @rule(queue=QUEUE, limit=LIMIT, outcome=OUTCOME)
    def rescue(self, queue: str, limit: int, outcome: Outcome) -> None:
        self.time_passes(31)
        assert self.write(self.reclaimed(queue, limit, "other", 30.5), outcome) == []

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(list(self.known)[-8:]), max_size=3))
        cancellation = self.both("cancel", [*some, "unknown"])
        told = cancellation.outcomes.items()
        self.live -= {id for id, outcome in told if outcome is Cancel.CANCELLED}

    @precondition(lambda self: self.held)
    @rule()
    def look_for_cancelled(self) -> None:
        some = self.held[-8:]
        real = self.real.store.cancelled([each.engine for each in some])
        model = self.model.store.cancelled([each.model for each in some])
        told = [(each.id, each.engine.token) for each in some if each.model in model]
        assert sorted(names(real)) == sorted(told)

    def write(self, some: list[Held], outcome: Outcome) -> list[Held]:
        """Settle all of these; those that were lost."""
        real = self.run(self.real.store.settle([Settlement(each.engine, outcome) for each in some]))
        model = self.run(
            self.model.store.settle([Settlement(each.model, outcome) for each in some])
        )
        lost = [each for each in some if each.model in model.lost]
        assert sorted(names(real.lost)) == sorted((each.id, each.engine.token) for each in lost)
        assert real.evicted == model.evicted
        assert sorted(ids(real.cancelled)) == sorted(ids(model.cancelled))
        self.live -= set(ids(model.cancelled))
        if isinstance(outcome, Done | Dead):
            finished = {each.id for each in some if each not in lost}
            assert finished <= self.live, "settled for the second time"
            self.live -= finished
        return lost

    @rule(seconds=STEP)
    def time_passes(self, seconds: int) -> None:
        for side in (self.real, self.model):
            self.run(side.engine.advance(float(seconds)))

    @rule(
        schedule=st.sampled_from(SCHEDULES),
        at=st.integers(0, 5),
        queue=st.none() | QUEUE,
        unique=UNIQUE,
    )
    def tick(self, schedule: str, at: int, queue: str | None, unique: tuple[Any, ...]) -> None:
        message = None
        if queue is not None:
            message = Message(new_id(), queue, b"tick", 0, None, *unique)
        fired = self.both("push_tick", schedule, at / 2, message)
        if message is not None:
            self.known[message.id] = message.queue
            self.live |= {message.id} if fired is Ticked.FIRED else set()

    @rule(queue=QUEUE, state=st.sampled_from(State), limit=LIMIT, verb=st.sampled_from(OPERATIONS))
    def operate(self, queue: str, state: State, limit: int, verb: str) -> None:
        """What happens seldom, as one rule, so that it does."""
        getattr(self, verb)(queue, state, limit)

    def requeue(self, queue: str, state: State, limit: int) -> None:
        dead = ids(self.run(browse_all(self.model.store, State.DEAD, queue)))[:limit]
        assert self.both("requeue", [*dead, *list(self.known)[:2], *dead]) >= 0
        found = self.run(self.model.store.lookup(list(self.known)))
        self.live |= {id for id, record in found.items() if record.state in LIVE}

    def purge(self, queue: str, state: State, limit: int) -> None:
        if state is State.RUNNING:
            return
        gone = set(ids(self.run(browse_all(self.model.store, state, queue))))
        assert self.both("purge", queue, state) >= len(gone)  # unseen: results past their time
        self.live -= gone

    def prune(self, queue: str, state: State, limit: int) -> None:
        self.both("prune", limit)

    def restart(self, queue: str, state: State, limit: int) -> None:
        model: Any = self.model.store
        for side in (self.real, self.model):
            self.run(side.store.aclose())
            side.store = self.run(side.engine.opened(dead_letter_cap=CAP))
        if self.kind.keeps_turns:
            self.model.store._turns = model._turns  # type: ignore[attr-defined]

    def pause(self, queue: str, state: State, limit: int) -> None:
        for side in (self.real, self.model):
            until = self.run(now(side.store)) + 20.5 if limit else None
            self.run(side.store.pause(queue, until))

    def resume(self, queue: str, state: State, limit: int) -> None:
        self.both("resume", queue)
        self.both("resume_task", queue)

    def pause_task(self, queue: str, state: State, limit: int) -> None:
        self.both("pause_task", queue)

    def browse(self, queue: str, state: State, limit: int) -> None:
        real, model = (
            self.run(browse_all(side.store, state, queue, page=limit + 1))
            for side in (self.real, self.model)
        )
        assert sorted(map(seen, real)) == sorted(map(seen, model))

    # -- what must always hold

    @invariant()
    def onlookers_see_the_same(self) -> None:
        real, model = self.ask("lookup", list(self.known))
        assert {id: seen(each) for id, each in real.items()} == {
            id: seen(each) for id, each in model.items()
        }
        for id, record in model.items():
            if record.state is State.DELAYED:
                assert real[id].run_at == self.near_time(record.run_at)
        numbers, expected = self.ask("stats", QUEUES)
        for queue in QUEUES:
            assert counts(numbers[queue]) == counts(expected[queue])
            assert numbers[queue].oldest_ready == self.near(expected[queue].oldest_ready)
        known, expected = self.ask("ticks", SCHEDULES)
        assert known.last == expected.last
        paused, expected = self.ask("paused")
        assert paused.tasks == expected.tasks
        assert paused.queues == {
            name: self.near_time(until) for name, until in expected.queues.items()
        }

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was stored and not finished is there, in exactly one queue and state."""
        type(self).steps += 1
        found = self.run(self.real.store.lookup(list(self.known)))
        assert {id for id, record in found.items() if record.state in LIVE} == self.live
        numbers = self.run(self.real.store.stats(QUEUES)).values()
        assert sum(each.ready + each.delayed + each.running for each in numbers) == len(self.live)

    def near_time(self, at: float | None) -> Any:
        """A time of the reference's, by the engine's clock."""
        if at is None:
            return None
        real, model = self.ask("ticks", [])
        return self.near(at + real.now - model.now)

    def near(self, seconds: float | None) -> Any:
        """Equal within what the engine's own clock allows."""
        if seconds is None:
            return None
        return pytest.approx(seconds, abs=max(self.real.engine.tolerance, 1e-3))


@pytest.mark.timeout(3600)  # the nightly walk is long, and so is shrinking a failure
def test_any_order_of_verbs(engine_kind: type[Engine]) -> None:
    class Machine(StoreMachine):
        kind = engine_kind

    fewer = settings(max_examples=settings().max_examples // 3)
    run_state_machine_as_test(Machine, settings=fewer)
    planned = fewer.max_examples * fewer.stateful_step_count
    assert Machine.steps > planned // 2, "it hardly walked"  # by night that is 16,650 steps
