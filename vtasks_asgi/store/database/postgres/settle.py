"""Writing outcomes back, as a plan: one statement for each kind of outcome, however many."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vtasks_asgi.core.outcome import CANCELLED, Dead, Done, Release, Retry
from vtasks_asgi.store.base import Claim, Settled, Settlement, limited
from vtasks_asgi.store.database.postgres import dead, keys, limits
from vtasks_asgi.store.database.postgres.arrays import byteas, float8s, int8s, texts
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query
from vtasks_asgi.store.database.postgres.push import ring

# Each answers with the numbers, from 1, of those whose token still held.
# Those that end a message have a second form, for messages with unique keys.
_FINISH = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m
    USING unnest($1::int8[], $2::text[]) WITH ORDINALITY AS s(seq, token, n)
    WHERE m.seq = s.seq AND m.token = s.token
    RETURNING s.n, m.uid, m.queue, m.unique_key)
SELECT n FROM gone
"""

_KEEP = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m
    USING unnest($1::int8[], $2::text[], $3::bytea[], $4::bytea[], $5::float8[])
        WITH ORDINALITY AS s(seq, token, value, history, ttl, n)
    WHERE m.seq = s.seq AND m.token = s.token
    RETURNING s.n, m.uid, m.queue, m.priority, m.body, m.unique_key, s.value, s.history, s.ttl,
        NULL::bytea AS note),
kept AS (
    INSERT INTO vtasks_result
        (uid, queue, priority, body, value, history, finished_at, expires_at, note)
    SELECT uid, queue, priority, body, value, history, t.now, t.now + ttl, note
    FROM gone, t ORDER BY n
    ON CONFLICT (uid) DO UPDATE SET value = excluded.value, history = excluded.history,
        finished_at = excluded.finished_at, expires_at = excluded.expires_at, note = excluded.note)
SELECT n FROM gone
"""

# The form for messages with notes, which few have.
_KEEP_NOTED = (
    _KEEP.replace("$5::float8[])", "$5::float8[], $6::bytea[])")
    .replace("ttl, n)", "ttl, note, n)")
    .replace("NULL::bytea AS note", "s.note")
)

_BURY = f"""
WITH {NOW},
gone AS (
    DELETE FROM vtasks_message AS m
    USING unnest($1::int8[], $2::text[], $3::bytea[], $4::text[], $5::bytea[])
        WITH ORDINALITY AS s(seq, token, note, reason, history, n)
    WHERE m.seq = s.seq AND m.token = s.token
    RETURNING s.n, m.uid, m.queue, m.priority, m.attempt, m.crashes, m.body, m.unique_key,
        s.note, s.reason, s.history, {limits.COLUMNS}, m.line),
buried AS (
    INSERT INTO vtasks_deadletter (uid, queue, priority, attempt, crashes, body, history, reason,
        finished_at, unique_key, note, limit_key, limit_count, limit_interval, line)
    SELECT uid, queue, priority, attempt, crashes, body, history, left(reason, 200), t.now,
        unique_key, note, limit_key, limit_count, limit_interval, line
    FROM gone, t ORDER BY n
    ON CONFLICT (uid) DO UPDATE SET history = excluded.history, reason = excluded.reason,
        finished_at = excluded.finished_at, note = excluded.note)
SELECT n FROM gone
"""

_LET_GO = """
token = NULL, worker = NULL, started_at = NULL, lease_until = NULL, run_at = t.now + s.delay,
    note = s.note,
    state = CASE WHEN s.delay > 0 THEN 1 WHEN m.line IS NULL THEN 0 ELSE 3 END
"""

_RETRY = f"""
WITH {NOW}
UPDATE vtasks_message AS m SET {_LET_GO}, history = s.history
FROM unnest($1::int8[], $2::text[], $3::bytea[], $4::float8[], $5::bytea[])
    WITH ORDINALITY AS s(seq, token, note, delay, history, n), t
WHERE m.seq = s.seq AND m.token = s.token RETURNING s.n
"""

_RELEASE = f"""
WITH {NOW}
UPDATE vtasks_message AS m SET {_LET_GO}, attempt = m.attempt - s.counted
FROM unnest($1::int8[], $2::text[], $3::bytea[], $4::float8[], $5::int8[])
    WITH ORDINALITY AS s(seq, token, note, delay, counted, n), t
WHERE m.seq = s.seq AND m.token = s.token RETURNING s.n
"""

_SAVE = """
UPDATE vtasks_message SET note = $1::bytea WHERE seq = $2::int8 AND token = $3 RETURNING 1
"""

# Of those that have just been put back: whoever cancels one has to wait for its row meanwhile.
_CANCELLED = dead.burial(
    CANCELLED,
    """
    unnest($1::int8[]) WITH ORDINALITY AS s(seq, n)
    WHERE m.seq = s.seq AND m.state <> 2 AND m.cancelled_at IS NOT NULL
    """,
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
    step = [_QUERIES[kind](group) for kind, group in groups.items()]
    put_back = [*groups.get("retry", ()), *groups.get("release", ())]
    if put_back:
        step.append(Query(_CANCELLED, (_fence(put_back)[0],)))
    if buried := {s.claim.queue for s in groups.get("bury", ())}:
        step.append(dead.evict(buried, cap))
    answers = yield [*step, *ring(words)]
    for group, found in zip(groups.values(), answers, strict=False):
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


def _by_kind(settlements: Sequence[Settlement], lost: list[Claim]) -> dict[str, list[Settlement]]:
    """What to do with each; the second settlement of a claim within one call is lost at once."""
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
    return groups


def _ending(text: str, group: Sequence[Settlement]) -> str:
    """The statement; one that frees unique keys as well if there are any."""
    if all(settlement.claim.unique is None for settlement in group):
        return text
    return text.replace("SELECT n FROM gone", f", {keys.FREED} SELECT n FROM gone")


def _fence(group: Sequence[Settlement]) -> tuple[Any, Any]:
    claims = [settlement.claim for settlement in group]
    return int8s([claim.handle for claim in claims]), texts([claim.token for claim in claims])


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


_KINDS = {Retry: "retry", Release: "release", Dead: "bury"}
_QUERIES = {
    "finish": _finish,
    "keep": _keep,
    "bury": _bury,
    "retry": _retry,
    "release": _release,
}
