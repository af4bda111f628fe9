"""Statements to PostgreSQL and back in one round trip, on libpq's pipeline mode.

psycopg's cursors can do this too, at three times the cost: each of them is several turns of the
loop. This uses psycopg's own wrapper of libpq, once for a batch. Statements are prepared when first
used, in the same round trip.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.adapt import Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result

from vtasks_asgi.store.database.postgres.arrays import Array
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row, tuned

type _Types = tuple[int, ...]

_TEXT, _BYTEA, _INT8, _FLOAT8, _UNKNOWN = 25, 17, 20, 701, 0
_DOUBLE = Struct("!d").pack
_BINARY = pq.Format.BINARY
#: Seconds that asking the server to stop may take.
_CANCEL_TIMEOUT = 1.0


class WireConnection(AsyncConnection):
    """A connection that knows which statements it has prepared for us."""

    prepared: dict[tuple[str, _Types], bytes]

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = await super().connect(*args, **kwargs)
        connection.prepared = {}
        return connection


async def run[T](connection: WireConnection, plan: Plan[T], *, prepare: bool) -> T:
    """Run a plan to its end, on a connection of the pool."""
    try:
        step = next(plan)
        while True:
            answers = await exchange(connection, tuned(step), prepare=prepare)
            step = plan.send(answers[-len(step) :])
    except StopIteration as end:
        value: T = end.value
        return value


async def exchange(
    connection: WireConnection, queries: Sequence[Query], *, prepare: bool
) -> list[list[Row]]:
    """The rows of each query. Outside a transaction they are one.

    Raises:
        psycopg.Error: of the first that failed; the others have done nothing then.
    """
    async with connection.lock:
        pgconn = connection.pgconn
        pgconn.enter_pipeline_mode()
        sent: list[tuple[str, _Types] | None] = []
        try:
            for query in queries:
                sent += _send(connection, query, prepare)
            pgconn.pipeline_sync()
            results = await _Batch(pgconn).results()
        except BaseException:
            await _hang_up(connection)
            raise
        pgconn.exit_pipeline_mode()
        return _read(connection, sent, results)


def _send(
    connection: WireConnection, query: Query, prepare: bool
) -> list[tuple[str, _Types] | None]:
    """Queue it; what its results will be: the key of a statement just prepared, None for rows."""
    values, types = _encoded(query.values)
    formats = [_BINARY] * len(values)
    pgconn, key = connection.pgconn, (query.text, types)
    if not prepare:
        text = query.text.encode()
        pgconn.send_query_params(text, values, types, formats, _BINARY)
        return [None]
    if name := connection.prepared.get(key):
        pgconn.send_query_prepared(name, values, formats, _BINARY)
        return [None]
    name = b"vtasks_%d" % len(connection.prepared)
    connection.prepared[key] = name
    pgconn.send_prepare(name, query.text.encode(), types)
    pgconn.send_query_prepared(name, values, formats, _BINARY)
    return [key, None]


def _encoded(values: Sequence[Any]) -> tuple[list[bytes | None], _Types]:
    encoded: list[bytes | None] = []
    types: list[int] = []
    for value in values:
        if isinstance(value, Array):
            encoded.append(value)
            types.append(value.oid)
        elif isinstance(value, str):
            encoded.append(value.encode())
            types.append(_TEXT)
        elif isinstance(value, float):
            encoded.append(_DOUBLE(value))
            types.append(_FLOAT8)
        elif isinstance(value, bytes):
            encoded.append(value)
            types.append(_BYTEA)
        elif value is None:
            encoded.append(None)
            types.append(_UNKNOWN)
        else:
            encoded.append(value.to_bytes(8, "big", signed=True))
            types.append(_INT8)
    return encoded, tuple(types)


def _read(
    connection: WireConnection,
    sent: Sequence[tuple[str, _Types] | None],
    results: Sequence[pq.abc.PGresult],
) -> list[list[Row]]:
    rows: list[list[Row]] = []
    failure: psycopg.Error | None = None
    transformer = Transformer(connection)
    for key, result in zip(sent, results, strict=True):
        if result.status == pq.ExecStatus.TUPLES_OK:
            transformer.set_pgresult(result)
            rows.append(transformer.load_rows(0, result.ntuples, tuple))
        elif result.status == pq.ExecStatus.COMMAND_OK:
            if key is None:
                rows.append([])
        else:
            if key is not None:
                del connection.prepared[key]
            failure = failure or error_from_result(result)
    if failure is not None:
        if isinstance(failure, InvalidSqlStatementName):
            connection.prepared.clear()  # somebody has said DISCARD ALL
        raise failure
    return rows


async def _hang_up(connection: WireConnection) -> None:
    """Nobody knows what state it is in: ask the server to stop, and give the connection up."""
    if connection.pgconn.status == pq.ConnStatus.OK:
        with suppress(psycopg.Error, TimeoutError):
            await connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
    connection.pgconn.finish()


class _Batch:
    """What was queued is on its way; its results arrive."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._results: list[pq.abc.PGresult] = []

    async def results(self) -> list[pq.abc.PGresult]:
        """All of them, in order, once the server has answered to the sync."""
        descriptor = self._pgconn.socket
        unsent = self._pgconn.flush()
        self._loop.add_reader(descriptor, self._guarded, self._receive)
        if unsent:
            self._loop.add_writer(descriptor, self._guarded, self._flush)
        try:
            await self._done
        finally:
            self._loop.remove_reader(descriptor)
            if unsent:
                self._loop.remove_writer(descriptor)
        return self._results

    def _guarded(self, step: Any) -> None:
        try:
            step()
        except psycopg.Error as error:
            if not self._done.done():
                self._done.set_exception(error)

    def _flush(self) -> None:
        if not self._pgconn.flush():
            self._loop.remove_writer(self._pgconn.socket)

    def _receive(self) -> None:
        pgconn = self._pgconn
        pgconn.consume_input()
        while not self._done.done() and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                continue  # the end of one statement's results
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                self._done.set_result(None)
            else:
                self._results.append(result)
