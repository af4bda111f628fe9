"""Locks of other transactions on MySQL and MariaDB: skipped, waited for, or fought about."""

import asyncio

import pytest
from django.db import connections, transaction

from tests.processes import wait_for
from tests.services.mariadb import MariaDB
from tests.store.helpers import DONE, QUEUE, ids, message, push, record, settle, take
from tests.store.mariadb import ALIAS, keyed, opened, other_transaction, request
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.base import Receipt, Settlement, State
from vtasks_asgi.store.database.mysql import link, unique

pytestmark = pytest.mark.usefixtures("mariadb_tables")


async def test_a_callers_open_transaction_is_skipped_and_never_waited_for() -> None:
    async with opened() as store:
        with other_transaction() as other:
            hidden = message(priority=100)
            values = (hidden.id, hidden.queue, hidden.priority)
            other(
                "INSERT INTO vtasks_message"
                " (uid, queue, state, priority, created_at, attempt, crashes, body)"
                " VALUES (%s, %s, 0, %s, 0, 0, 0, '')",
                *values,
            )
            [pushed] = await push(store)
            assert ids(await take(store)) == [pushed]
            assert await store.purge(QUEUE, State.READY) == 0


async def test_a_key_that_a_request_has_locked_hinders_no_worker() -> None:
    """The request's transaction is open; the worker ends the message and claims others."""
    first = keyed()
    async with opened() as store:
        await store.push([first])
        [claim] = await take(store)
        with other_transaction() as other:
            other("SELECT * FROM vtasks_uniquekey WHERE queue = %s FOR UPDATE", QUEUE)
            await push(store)
            async with asyncio.timeout(link.LOCK_WAIT - 1):
                assert (await settle(store, claim)).lost == []
                assert len(await take(store)) == 1
                await store.prune(100)
        second = keyed()
        assert (await store.push([second]))[0].stored


async def test_pruning_forgets_what_a_worker_had_to_leave() -> None:
    first, held = keyed(), keyed("held")
    async with opened() as store:
        await store.push([first, held])
        claim = (await take(store, 1))[0]
        with other_transaction() as other:
            other("SELECT * FROM vtasks_uniquekey FOR UPDATE")
            await settle(store, claim)
        assert keys() == {"key", "held"}
        await store.prune(100)
        assert keys() == {"held"}


def keys() -> set[str]:
    with other_transaction() as other:
        return {key for (key,) in other("SELECT `key` FROM vtasks_uniquekey")}


async def test_a_lock_held_for_long_is_waited_for_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_SESSION", "SET SESSION innodb_lock_wait_timeout = 1")
    async with opened() as store:
        await push(store)
        [claim] = await take(store)
        with other_transaction() as other:
            other("SELECT * FROM vtasks_message FOR UPDATE")
            settling = asyncio.create_task(settle(store, claim))
            await asyncio.sleep(1.3)  # the first try has ended with a timeout
            assert not settling.done()
        assert (await settling).lost == []


async def test_of_a_deadlock_nobody_hears(mariadb: MariaDB) -> None:
    """The lighter transaction is ended by the server, and that is ours."""

    def status(name: str) -> int:
        query = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS"
        [(value,)] = mariadb.ask(f"{query} WHERE VARIABLE_NAME = %s", name)
        return int(value)

    def waits() -> bool:
        return status("INNODB_ROW_LOCK_CURRENT_WAITS") > 0

    async with opened() as store:
        first, second = await push(store, 2)
        claims = await take(store)
        before = await asyncio.to_thread(status, "INNODB_DEADLOCKS")
        with other_transaction() as other:
            heavy = "INSERT INTO vtasks_tick (schedule, at)"
            other(f"{heavy} SELECT CONCAT('heavy', seq), 0 FROM seq_1_to_1000")
            lock = "SELECT seq FROM vtasks_message WHERE uid = %s FOR UPDATE"
            other(lock, second)
            settling = asyncio.create_task(store.settle([Settlement(c, DONE) for c in claims]))
            await asyncio.to_thread(wait_for, waits, "it holds the first and waits for the second")
            await asyncio.to_thread(other, lock, first)
        assert (await settling).lost == []
        assert await asyncio.to_thread(status, "INNODB_DEADLOCKS") == before + 1


async def test_a_stale_snapshot_hides_no_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in REPEATABLE READ, begun before the key was taken."""
    options = connections[ALIAS].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", "repeatable read")
    first, second = keyed(), keyed()
    async with opened() as store:
        looked, taken = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def request() -> Receipt:
            with transaction.atomic(using=ALIAS):
                with connections[ALIAS].cursor() as cursor:
                    cursor.execute("SELECT COUNT(*) FROM vtasks_message")
                loop.call_soon_threadsafe(looked.set)
                asyncio.run_coroutine_threadsafe(taken.wait(), loop).result(20)
                [receipt] = store.push_sync([second])
            connections[ALIAS].close()
            return receipt

        asking = asyncio.create_task(asyncio.to_thread(request))
        await looked.wait()
        await store.push([first])
        taken.set()
        assert await asking == Receipt(second.id, False, first.id)


async def test_a_key_taken_while_pruning_looks_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The list of free keys is older than the locks on them."""
    stale = "SELECT queue, `key`, uid FROM vtasks_uniquekey WHERE until <= %s LIMIT %s"
    monkeypatch.setattr(unique, "_FREE", stale)
    first = keyed()
    async with opened() as store:
        await store.push([first])
        await store.prune(100)
        assert (await store.push([keyed()]))[0].holder == first.id


def debounced(body: bytes) -> Message:
    return Message(new_id(), QUEUE, body, unique="key", debounce=5.0)


async def test_a_request_that_debounces_keeps_no_worker_waiting() -> None:
    """The holder runs: its worker settles it while the request's transaction is still open."""
    async with opened() as store:
        await store.push([keyed()])
        [claim] = await take(store)
        later = debounced(b"later")
        async with (
            request(lambda: store.push_sync([later])),
            asyncio.timeout(link.LOCK_WAIT - 1),
        ):
            assert (await settle(store, claim)).lost == []
        assert (await record(store, later.id)).state is State.DELAYED


async def test_what_a_request_has_merged_is_skipped_until_it_commits() -> None:
    async with opened() as store:
        first = keyed()
        await store.push([first])
        async with (
            request(lambda: store.push_sync([debounced(b"later")])),
            asyncio.timeout(link.LOCK_WAIT - 1),
        ):
            assert await take(store) == []
            assert await store.purge(QUEUE, State.READY) == 0
        assert (await record(store, first.id)).body == b"later"
