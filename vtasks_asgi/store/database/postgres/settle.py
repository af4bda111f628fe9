"""Writing outcomes back, as a plan: one statement for each kind of outcome, however many."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vtasks_asgi.core.outcome import CANCELLED, Dead, Done, Release, Retry
from vtasks_asgi.store.base import Claim, Settled, Settlement, limited
from vtasks_asgi.store.database.postgres import dead, fence, keys, limits
from vtasks_asgi.store.database.postgres.arrays import byteas, float8s, int8s, texts
from vtasks_asgi.store.database.postgres.fence import FENCED, NUMBER, rounds
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query
from vtasks_asgi.store.database.postgres.push import ring

# Each answers with the numbers, from 1, of those whose token still held.
# Those that end a message have a second form, for messages with unique keys.
_FINISH = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m WHERE {FENCED}
    RETURNING {NUMBER} AS n, m.uid, m.queue, m.unique_key)
SELECT n FROM gone
"""

_KEEP = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m WHERE {FENCED}
    RETURNING {NUMBER} AS n, m.uid, m.queue, m.priority, m.body, m.unique_key),
kept AS (
    INSERT INTO vtasks_result
        (uid, queue, priority, body, value, history, finished_at, expires_at, note)
    SELECT uid, queue, priority, body, ($3::bytea[])[n], ($4::bytea[])[n], t.now,
        t.now + ($5::float8[])[n], NULL::bytea
    FROM gone, t ORDER BY ($6::int8[])[n]
    ON CONFLICT (uid) DO UPDATE SET value = excluded.value, history = excluded.history,
        finished_at = excluded.finished_at, expires_at = excluded.expires_at, note = excluded.note)
SELECT n FROM gone
"""

# The form for messages with notes, which few have.
_KEEP_NOTED = _KEEP.replace("$6", "$7").replace("NULL::bytea", "($6::bytea[])[n]")

_BURY = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m WHERE {FENCED}
    RETURNING {NUMBER} AS n, m.uid, m.queue, m.priority, m.attempt, m.crashes, m.body,
        m.unique_key, {limits.COLUMNS}, m.line),
buried AS (
    INSERT INTO vtasks_deadletter (uid, queue, priority, attempt, crashes, body, history, reason,
        finished_at, unique_key, note, limit_key, limit_count, limit_interval, line)
    SELECT uid, queue, priority, attempt, crashes, body, ($5::bytea[])[n],
        left(($4::text[])[n], 200), t.now, unique_key, ($3::bytea[])[n],
        limit_key, limit_count, limit_interval, line
    FROM gone, t ORDER BY ($6::int8[])[n]
    ON CONFLICT (uid) DO UPDATE SET history = excluded.history, reason = excluded.reason,
        finished_at = excluded.finished_at, note = excluded.note)
SELECT n FROM gone
"""

_LET_GO = f"""
token = NULL, worker = NULL, started_at = NULL, lease_until = NULL,
    note = ($3::bytea[])[{NUMBER}], run_at = t.now + ($4::float8[])[{NUMBER}],
    state = CASE WHEN ($4::float8[])[{NUMBER}] > 0 THEN 1 WHEN m.line IS NULL THEN 0 ELSE 3 END
"""

_RETRY = f"""
WITH {NOW}
UPDATE vtasks_message AS m SET {_LET_GO}, history = ($5::bytea[])[{NUMBER}]
FROM t WHERE {FENCED} RETURNING {NUMBER}
"""

_RELEASE = f"""
WITH {NOW}
UPDATE vtasks_message AS m SET {_LET_GO}, attempt = m.attempt - ($5::int8[])[{NUMBER}]
FROM t WHERE {FENCED} RETURNING {NUMBER}
"""

_SAVE = """
UPDATE vtasks_message SET note = $1::bytea WHERE seq = $2::int8 AND token = $3 RETURNING 1
"""

# Of those that have just been put back: whoever cancels one has to wait for its row meanwhile.
_CANCELLED = dead.burial(
    CANCELLED,
    "WHERE m.seq = ANY ($1::int8[]) AND m.state <> 2 AND m.cancelled_at IS NOT NULL",
    number=NUMBER,
)


def save(claim: Claim) -> Plan[bool]:
    """Write the claim's note; False when the token no longer holds."""
    [rows] = yield [Query(_SAVE, (claim.note, claim.handle, claim.token))]
    return bool(rows)


def goes_back(settlement: Settlement) -> bool:
    """Is there work again: itself, or another one of its limit's key?"""
    return isinstance(settlement.outcome, Retry | Release) or settlement.claim.limit is not None


def settle(settlements: Sequence[Settlement], cap: int, words: Sequence[str]) -> Plan[Settled]:
    """Write every outcome whose token still holds, and evict what is over the cap then."""
    settled = Settled()
    groups = _by_kind(settlements, settled.lost)
    if not groups:
        return settled
    step = [_query(kind, group, places) for kind, group, places in groups]
    put_back = sorted(
        (s for kind, group, _ in groups if kind in _PUT_BACK for s in group), key=_handle
    )
    if put_back:
        step.append(Query(_CANCELLED, (int8s([s.claim.handle for s in put_back]),)))
    if buried := {s.claim.queue for kind, group, _ in groups if kind == "bury" for s in group}:
        step.append(dead.evict(buried, cap))
    answers = yield [*step, *ring(words)]
    for (_, group, _), found in zip(groups, answers, strict=False):
        if len(found) < len(group):
            held = {n for (n,) in found}
            settled.lost += [s.claim for n, s in enumerate(group, 1) if n not in held]
    evicted = Counter(queue for (queue,) in answers[len(step) - 1]) if buried else Counter()
    if put_back and (ended := answers[len(groups)]):
        settled.cancelled = [put_back[n - 1].claim for (n,) in ended]
        [rows] = yield [dead.evict({claim.queue for claim in settled.cancelled}, cap)]
        evicted.update(queue for (queue,) in rows)
    if freed := limited(settlements):
        yield from limits.let_go(freed)
    settled.evicted = dict(evicted)
    return settled


def _by_kind(
    settlements: Sequence[Settlement], lost: list[Claim]
) -> list[tuple[str, list[Settlement], list[int]]]:
    """What to do with which, by ascending handles, and the place each of them had.

    The second settlement of a claim within one call is lost at once.
    """
    groups: dict[str, list[Settlement]] = {}
    seen: set[tuple[Any, str]] = set()
    for settlement in settlements:
        claim, outcome = settlement.claim, settlement.outcome
        key = claim.handle, claim.token
        if key in seen:
            lost.append(claim)
            continue
        seen.add(key)
        if isinstance(outcome, Done):
            kind = "keep" if outcome.ttl > 0 else "finish"
        else:
            kind = _KINDS[type(outcome)]
        groups.setdefault(kind, []).append(settlement)
    return [
        (kind, [group[place] for place in places], places)
        for kind, group in groups.items()
        for places in rounds([settlement.claim.handle for settlement in group])
    ]


def _query(kind: str, group: list[Settlement], places: list[int]) -> Query:
    query = _QUERIES[kind](group)
    if kind in _KEPT:  # what stays on record lies in the order of the settlements
        query.values = (*query.values, int8s(places))
    return query


def _handle(settlement: Settlement) -> int:
    handle: int = settlement.claim.handle
    return handle


def _ending(text: str, group: Sequence[Settlement]) -> str:
    """The statement; one that frees unique keys as well if there are any."""
    if all(settlement.claim.unique is None for settlement in group):
        return text
    return text.replace("SELECT n FROM gone", f", {keys.FREED} SELECT n FROM gone")


def _fence(group: Sequence[Settlement]) -> tuple[Any, Any]:
    return fence.values([settlement.claim for settlement in group])


def _notes(group: Sequence[Settlement]) -> Any:
    return byteas(settlement.claim.note for settlement in group)


def _finish(group: Sequence[Settlement]) -> Query:
    return Query(_ending(_FINISH, group), _fence(group))


def _keep(group: Sequence[Settlement]) -> Query:
    outcomes: list[Any] = [settlement.outcome for settlement in group]
    values = byteas([outcome.value for outcome in outcomes])
    histories = byteas([outcome.history for outcome in outcomes])
    ttls = float8s([outcome.ttl for outcome in outcomes])
    written = (*_fence(group), values, histories, ttls)
    if all(settlement.claim.note is None for settlement in group):
        return Query(_ending(_KEEP, group), written)
    return Query(_ending(_KEEP_NOTED, group), (*written, _notes(group)))


def _bury(group: Sequence[Settlement]) -> Query:
    outcomes: list[Any] = [settlement.outcome for settlement in group]
    reasons = texts(outcome.reason for outcome in outcomes)
    histories = byteas(outcome.history for outcome in outcomes)
    return Query(_ending(_BURY, group), (*_fence(group), _notes(group), reasons, histories))


def _retry(group: Sequence[Settlement]) -> Query:
    outcomes: list[Any] = [settlement.outcome for settlement in group]
    delays = float8s(outcome.delay for outcome in outcomes)
    histories = byteas(outcome.history for outcome in outcomes)
    return Query(_RETRY, (*_fence(group), _notes(group), delays, histories))


def _release(group: Sequence[Settlement]) -> Query:
    outcomes: list[Any] = [settlement.outcome for settlement in group]
    delays = float8s(outcome.delay for outcome in outcomes)
    # A reclaimed one was counted by the worker that lost it.
    counted = int8s([int(settlement.claim.lost_at is None) for settlement in group])
    return Query(_RELEASE, (*_fence(group), _notes(group), delays, counted))


_KEPT = ("keep", "bury")
_PUT_BACK = ("retry", "release")
_KINDS = {Retry: "retry", Release: "release", Dead: "bury"}
_QUERIES = {
    "finish": _finish,
    "keep": _keep,
    "bury": _bury,
    "retry": _retry,
    "release": _release,
}
