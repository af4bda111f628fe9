"""Ways to break the package inside a test's processes, one promise each.

A positive control starts its scenario with ``MUTANT=<name>`` and must see it fail: that proves that
the harness would notice. Nothing of the kind exists in the package itself.
"""

import asyncio
import os
import signal
from secrets import token_hex
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.base import Settled


def deaf() -> None:
    """Learns of the end from lifespan alone, not from the signal."""
    from vtasks_asgi.host import Host

    def chain(self: Any) -> Any:
        return lambda: None

    _replace(Host, "_chain_signals", chain)


def unmended() -> None:
    """Granian sets its own signal handlers."""
    from vtasks_asgi import granian_stop

    _replace(granian_stop, "mend", lambda: None)


def meeting() -> None:
    """No mutant: SIGTERM always comes while the first stop signal is being handled."""
    from vtasks_asgi.runtime.runtime import Runtime

    stop = Runtime.stop

    def stopped(self: Any) -> None:
        first = not self.stopping
        stop(self)
        if first:
            os.kill(os.getpid(), signal.SIGTERM)

    _replace(Runtime, "stop", stopped)


def no_renewal() -> None:
    """Leases run out while their tasks run."""
    from vtasks_asgi.runtime.leases import Leases

    _replace(Leases, "_renew", lambda self: 1.0)


def no_reclaim() -> None:
    """What dead workers held stays theirs."""
    from vtasks_asgi.runtime.reclaim import Reclaimer

    async def run(self: Any) -> None:
        await asyncio.Event().wait()

    _replace(Reclaimer, "run", run)


def no_fence() -> None:
    """Whoever held a message once may settle it for ever."""
    from vtasks_asgi.store.database.sqlite import sql

    for name in ("_EXTEND", "_DELETE", "_TAKE_OUT", "_RETRY", "_RELEASE"):
        statement: str = getattr(sql, name)
        _replace(sql, name, statement.replace("token = ?", "(token = ? OR 1)"))


def no_compare() -> None:
    """Each process fires each tick: neither compare-and-set nor a common id."""
    from vtasks_asgi.backends import base
    from vtasks_asgi.store.database.sqlite import push

    _replace(push, "_TICK", push._TICK.partition(" WHERE excluded.at")[0])
    _replace(base, "tick_id", lambda name, at: token_hex(16))


def impatient() -> None:
    """Gives up at once when another process holds SQLite's lock."""
    from vtasks_asgi.store.database.sqlite import writer

    _replace(writer, "BUSY_LIMIT", 0.0)


def careless() -> None:
    """Takes a settlement the store refused for written."""
    from vtasks_asgi.store.database.sqlite.store import SQLiteStore

    settle = SQLiteStore.settle

    async def settled(self: SQLiteStore, settlements: Any) -> Settled:
        try:
            return await settle(self, settlements)
        except StoreUnavailable:
            return Settled()

    _replace(SQLiteStore, "settle", settled)


def popping() -> None:
    """Lets go of a batch's messages before its function has run."""
    from vtasks_asgi.batches import BatchInvoker

    ask = BatchInvoker._ask

    async def asked(self: Any, call: Any, part: Any) -> Any:
        for run in part:
            call.hand.decide(run.claim, self._success(run, None))
        await asyncio.sleep(0.05)  # for the settlement to be written
        return await ask(self, call, part)

    _replace(BatchInvoker, "_ask", asked)


def forgiving() -> None:
    """Does not count the workers a message has killed."""
    from vtasks_asgi.store.database.sqlite import sql

    _replace(sql, "_RECLAIM", sql._RECLAIM.replace("crashes + 1", "crashes"))


def dying() -> None:
    """The runtime ends with an error as soon as it works, which nothing in it may do."""
    from vtasks_asgi.runtime.runtime import Runtime

    async def work(self: Any) -> None:
        raise RuntimeError("this mutant dies")

    _replace(Runtime, "_work", work)


def hasty() -> None:
    """No mutant: the waits between rescues shortened, as tests shorten leases."""
    from vtasks_asgi.core import retry

    _replace(retry, "CRASH_PAUSE", 3.0)


def tidy() -> None:
    """No mutant: open groups are looked at more often, as tests shorten leases."""
    from vtasks_asgi.runtime import sweep

    _replace(sweep, "EVERY", 0.3)
    _replace(sweep, "PATIENCE", 5.0)


def forgetful() -> None:
    """Completes groups and calls nobody."""
    from vtasks_asgi.runtime import follow, sweep

    async def run(self: Any) -> None:
        await asyncio.Event().wait()

    _replace(sweep.Sweeper, "run", run)
    _replace(follow, "callbacks_of", lambda record, now: [])


def parting_marked() -> None:
    """Dies when a group is complete, before the last member is settled."""
    _parting("mark_members", when=bool)


def parting_settled() -> None:
    """Dies when the last member of a group is settled, before the callback is enqueued."""
    from vtasks_asgi.runtime.follow import Followers

    async def finish(self: Any, records: Any) -> None:
        os._exit(9)

    _replace(Followers, "finish", finish)


def parting_called() -> None:
    """Dies when the callback is enqueued, before the group is closed."""
    _parting("close_groups", before=True)


def _parting(verb: str, *, before: bool = False, when: Any = lambda answer: True) -> None:
    from vtasks_asgi.runtime.follow import Followers

    begin = Followers.__init__

    def begun(self: Any, store: Any, *args: Any) -> None:
        begin(self, store, *args)
        work = getattr(store, verb)

        async def dying(*given: Any, **more: Any) -> Any:
            answer = None if before else await work(*given, **more)
            if before or when(answer):
                os._exit(9)
            return answer

        setattr(store, verb, dying)

    _replace(Followers, "__init__", begun)


def _replace(owner: Any, name: str, by: Any) -> None:
    if getattr(owner, name) == by:
        raise RuntimeError(f"the mutant does not change {owner.__name__}.{name}: mend the mutant")
    setattr(owner, name, by)


_MUTANTS = {
    mutant.__name__: mutant
    for mutant in (
        deaf,
        unmended,
        meeting,
        no_renewal,
        no_reclaim,
        no_fence,
        no_compare,
        impatient,
        careless,
        popping,
        forgiving,
        dying,
        hasty,
        tidy,
        forgetful,
        parting_marked,
        parting_settled,
        parting_called,
    )
}


def apply(names: str) -> None:
    """Break this process in the ways of these names, given with commas between them."""
    for name in names.split(","):
        _MUTANTS[name]()
