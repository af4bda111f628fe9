"""Storing messages and ticks, as plans."""

from collections.abc import Collection, Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt, Ticked
from vtasks_asgi.store.database.limited import columns_of
from vtasks_asgi.store.database.postgres import keys
from vtasks_asgi.store.database.postgres.arrays import byteas, float8s, int8s, int8s_or_null, texts
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query
from vtasks_asgi.store.database.postgres.verdicts import Verdicts

#: The channel of NOTIFY; the payload is who rings, and for which queue.
CHANNEL = "vtasks"

# A finished message keeps its id as long as its result or dead letter is kept. The ids are named
# only when some were not stored, which is rare.
_PUSH = f"""
WITH {NOW},
stored AS (
    INSERT INTO vtasks_message
        (uid, queue, state, priority, created_at, run_at, attempt, crashes, body, unique_key, line)
    SELECT m.uid, m.queue, CASE WHEN m.run_at > t.now OR m.wait > 0 THEN 1
            WHEN m.line IS NULL THEN 0 ELSE 3 END, m.priority,
        t.now, coalesce(t.now + m.wait, m.run_at), 0, 0, m.body, m.key, m.line
    FROM unnest($1::text[], $2::text[], $3::int8[], $4::float8[], $5::bytea[], $6::text[],
            $7::float8[], $8::int8[])
        WITH ORDINALITY AS m(uid, queue, priority, run_at, body, key, wait, line, n), t
    WHERE NOT EXISTS (SELECT 1 FROM vtasks_result AS r WHERE r.uid = m.uid)
      AND NOT EXISTS (SELECT 1 FROM vtasks_deadletter AS d WHERE d.uid = m.uid)
    ORDER BY m.n
    ON CONFLICT (uid) DO NOTHING
    RETURNING uid)
SELECT CASE WHEN count(*) < $9 THEN coalesce(array_agg(uid), '{{}}') END FROM stored
"""

_PUSH_LIMITED = (
    _PUSH.replace("line)", "line, limit_key, limit_count, limit_interval)")
    .replace("m.line\n    FROM", "m.line, m.limit_key, m.most::int4, m.pace\n    FROM")
    .replace("$8::int8[])", "$8::int8[], $10::text[], $11::float8[], $12::float8[])")
    .replace("line, n)", "line, limit_key, most, pace, n)")
)

#: The same for one, the common case of a site: no array, nothing for the planner to get wrong.
_PUSH_ONE = f"""
WITH {NOW}
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, run_at, attempt, crashes, body, unique_key, line)
SELECT $1::text, $2::text, CASE WHEN $4::float8 > t.now OR $7::float8 > 0 THEN 1
        WHEN $8::int8 IS NULL THEN 0 ELSE 3 END,
    $3::int8, t.now, coalesce(t.now + $7::float8, $4::float8), 0, 0, $5::bytea, $6::text, $8::int8
FROM t
WHERE NOT EXISTS (SELECT 1 FROM vtasks_result AS r WHERE r.uid = $1::text)
  AND NOT EXISTS (SELECT 1 FROM vtasks_deadletter AS d WHERE d.uid = $1::text)
ON CONFLICT (uid) DO NOTHING
RETURNING uid
"""

_KNOWN = """
SELECT w.uid FROM unnest($1::text[]) AS w(uid)
WHERE EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = w.uid)
   OR EXISTS (SELECT 1 FROM vtasks_result AS r WHERE r.uid = w.uid)
   OR EXISTS (SELECT 1 FROM vtasks_deadletter AS d WHERE d.uid = w.uid)
"""

_TICK = """
INSERT INTO vtasks_tick AS k (schedule, at) VALUES ($1, $2)
ON CONFLICT (schedule) DO UPDATE SET at = excluded.at WHERE excluded.at > k.at
RETURNING 1
"""

_RING = f"SELECT pg_notify('{CHANNEL}', word) FROM unnest($1::text[]) AS word"


def ring(words: Sequence[str]) -> list[Query]:
    """Tell the other processes when this transaction commits; nothing for no words."""
    return [Query(_RING, (texts(words),), tuned=False)] if words else []


def notify(words: Sequence[str]) -> Plan[None]:
    """Only tell them."""
    yield ring(words)


def has_keys(messages: Sequence[Message]) -> bool:
    """Is a unique key among them? Pushing them needs a transaction then."""
    return any(message.unique is not None for message in messages)


def push(messages: Sequence[Message], words: Sequence[str]) -> Plan[list[Receipt]]:
    """Insert all; a receipt each."""
    if has_keys(messages):
        return _push_unique(messages, words)
    return _push_plain(messages, words)


def _push_plain(messages: Sequence[Message], words: Sequence[str]) -> Plan[list[Receipt]]:
    if not messages:
        return []
    if len(messages) == 1 and messages[0].limit is None:
        [stored, *_] = yield [_insert_one(messages[0]), *ring(words)]
        return [Receipt(messages[0].id, bool(stored))]
    [[(new,)], *_] = yield [_insert(messages), *ring(words)]
    return _receipts(messages, new)


def _insert_one(message: Message) -> Query:
    values = (
        message.id,
        message.queue,
        message.priority,
        message.run_at,
        message.body,
        message.unique,
        message.debounce,
        message.line,
    )
    return Query(_PUSH_ONE, values, tuned=False)


def _insert(messages: Sequence[Message]) -> Query:
    values = (
        texts([each.id for each in messages]),
        texts([each.queue for each in messages]),
        int8s([each.priority for each in messages]),
        float8s([each.run_at for each in messages]),
        byteas([each.body for each in messages]),
        texts([each.unique for each in messages]),
        float8s([each.debounce for each in messages]),
        int8s_or_null([each.line for each in messages]),
        len(messages),
    )
    if all(each.limit is None for each in messages):
        return Query(_PUSH, values)
    limits = [columns_of(each.limit) for each in messages]
    names, counts, intervals = zip(*limits, strict=True)
    return Query(_PUSH_LIMITED, (*values, texts(names), float8s(counts), float8s(intervals)))


def _receipts(messages: Sequence[Message], new: Collection[str] | None) -> list[Receipt]:
    """``new`` are the ids that were stored, None for all; of several of one id it is the first."""
    if new is None:
        return [Receipt(message.id) for message in messages]
    left, receipts = set(new), []
    for message in messages:
        receipts.append(Receipt(message.id, message.id in left))
        left.discard(message.id)
    return receipts


def _push_unique(messages: Sequence[Message], words: Sequence[str]) -> Plan[list[Receipt]]:
    wanted = {(each.queue, each.unique) for each in messages if each.unique is not None}
    known_query = Query(_KNOWN, (texts(each.id for each in messages),))
    [*_, held, known] = yield [*keys.lock(wanted), known_query]
    verdicts = Verdicts(keys.holders(held), {uid for (uid,) in known})
    if any(message.debounce is not None for message in messages):
        [waiting] = yield [keys.lock_waiting(verdicts.holders.values())]
        verdicts.waiting = {uid for (uid,) in waiting}
    receipts = [verdicts.judge(message) for message in messages]
    step = [keys.merge(verdicts.merged)] if verdicts.merged else []
    new = list(verdicts.new.values())
    if new:
        step += [_insert(new), keys.take([each for each in new if each.unique is not None])]
    if step:
        answers = yield [*step, *ring(words)]
        if new and (stored := answers[len(step) - 2][0][0]) is not None:
            for receipt in receipts:  # another process has pushed the same ids at this moment
                receipt.stored = receipt.stored and receipt.id in stored
    return receipts


def push_tick(
    schedule: str, at: float, message: Message | None, words: Sequence[str]
) -> Plan[Ticked]:
    """Move the tick forward and push; nothing when somebody was there before."""
    [moved] = yield [Query(_TICK, (schedule, at))]
    if not moved:
        return Ticked.LATE
    if message is None:
        return Ticked.SKIPPED
    [receipt] = yield from push([message], words)
    return Ticked.SKIPPED if receipt.holder else Ticked.FIRED
