"""The verbs of producers and consumers as requests, and their replies as claims. Pure."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Dead, Done, Release, Retry
from vtasks_asgi.store.base import Claim, Claimed, Receipt, Settlement
from vtasks_asgi.store.valkey import layout
from vtasks_asgi.store.valkey.keys import Keys
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.tail import limit_text
from vtasks_asgi.store.valkey.wire import Request, bulk, call

PUSH, CLAIM, EXTEND = script("push"), script("claim"), script("extend")
RECLAIM, SAVE, SETTLE = script("reclaim"), script("save"), script("settle")
CANCELLED, PUT = script("cancelled"), script("put")

#: Messages of one call at the most, and bytes: a script must not hold the server up.
CHUNK = 1000
CHUNK_BYTES = 8 * 2**20

#: A message packed for ``push``: its id, its two arguments, and what a plain one has not.
type Parcel = tuple[str, bytes, bytes | None]


def ask(keys: Keys, which: Any, *args: bytes) -> Request:
    """Run one of the scripts on a queue."""
    tail = keys.head(which) + b"".join(map(bulk, args))
    return call(which, keys.slot, 1 + len(which.keys) + len(args), tail)


@lru_cache(256)
@lru_cache(64)  # times to live and delays come from settings, and are few
def number(value: float) -> bytes:
    """A number that Lua reads back exactly."""
    return repr(value).encode()


# -- push


def parcel(message: Message) -> Parcel:
    """Pack one message, where a bad one can still hurt nobody else.

    Raises:
        TypeError: the body is no bytes.
    """
    id, body = layout.raw(message.id), message.body
    pair = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(id), id, len(body), body)
    plain = message.unique is None and message.limit is None and message.line is None
    if plain and not message.priority and message.run_at is None:
        return message.id, pair, None
    special = (
        b"%d" % message.priority,
        _or_nothing(message.run_at),
        layout.raw(message.unique or ""),
        _or_nothing(message.keep_unique),
        _or_nothing(message.debounce),
        _or_nothing(message.debounce_max),
        limit_text(message.limit),
        b"" if message.line is None else b"%d" % message.line,
    )
    return message.id, pair, b"".join(map(bulk, special))


def _or_nothing(value: float | None) -> bytes:
    return b"" if value is None else number(value)


def parcels(messages: Sequence[Message]) -> list[Parcel]:
    """All of them packed."""
    return [parcel(message) for message in messages]


def chunks(parcels: list[Parcel]) -> Iterator[list[Parcel]]:
    """Cut into what one call may carry: in order, not too many or large, each id once."""
    if len(parcels) == 1:
        yield parcels
        return
    few = len(parcels) <= CHUNK and sum([len(each[1]) for each in parcels]) <= CHUNK_BYTES
    if few and len({each[0] for each in parcels}) == len(parcels):
        yield parcels
        return
    chunk: list[Parcel] = []
    seen: set[str] = set()
    size = 0
    for each in parcels:
        if chunk and (len(chunk) == CHUNK or size > CHUNK_BYTES or each[0] in seen):
            yield chunk
            chunk, seen, size = [], set(), 0
        chunk.append(each)
        seen.add(each[0])
        size += len(each[1])
    if chunk:
        yield chunk


def push(keys: Keys, parcels: Sequence[Parcel], tick: bytes = b"", *, of: int = 1) -> Request:
    """One call for one of so many chunks, ``of``; ``tick`` as ``push.lua`` has it."""
    count = len(parcels)
    # Several chunks are of one script: the server may not know one of two, and then they overtake.
    if count == 1 and of == 1 and not tick and parcels[0][2] is None:
        return call(PUT, keys.slot, 1 + len(PUT.keys) + 2, keys.head(PUT) + parcels[0][1])
    parts = [keys.head(PUSH), bulk(tick), bulk(b"%d" % count)]
    parts += [each[1] for each in parcels]
    specials = 0
    for index, (_, _, special) in enumerate(parcels, 1):
        if special is not None:
            specials += 1
            parts.append(bulk(b"%d" % index))
            parts.append(special)
    size = 3 + len(PUSH.keys) + 2 * count + 9 * specials
    return call(PUSH, keys.slot, size, b"".join(parts))


def receipts(parcels: Sequence[Parcel], refused: list[Any]) -> list[Receipt]:
    """The answer to ``push``."""
    answers = [Receipt(each[0]) for each in parcels]
    if not refused:
        return answers
    for index, holder, merged in zip(refused[::3], refused[1::3], refused[2::3], strict=True):
        id, who = parcels[index - 1][0], layout.text(holder) or None
        answers[index - 1] = Receipt(id, False, who, bool(merged))
    return answers


# -- claim


def claim(keys: Keys, limit: int, *, worker: str, lease: float, token: str) -> Request:
    return ask(keys, CLAIM, b"%d" % limit, number(lease), token.encode(), layout.name(worker))


def claimed(queue: str, token: str, reply: list[Any]) -> Claimed:
    """What ``claim`` handed out."""
    taken, bodies, metas, histories, notes, next_due = reply
    found = Claimed([], float(next_due) if next_due else None)
    add, priority_of = found.claims.append, layout.priority_of
    for raw, place, body in zip(taken[::2], map(float, taken[1::2]), bodies, strict=True):
        priority = 0 if 0.0 <= place < layout.BAND else priority_of(place)
        id = raw.decode("utf-8", "surrogateescape")
        add(Claim(id, queue, body[8:], priority, token, 1, 0, None, None, None, None, place))
    if metas:
        for each, value in zip(found.claims, metas, strict=True):
            if value is not None:
                _add_meta(each, value)
    if histories:
        for each, value in zip(found.claims, histories, strict=True):
            each.history = value
    if notes:
        for each, value in zip(found.claims, notes, strict=True):
            each.note = value
    return found


def _add_meta(claim: Claim, value: bytes) -> None:
    meta = layout.read_meta(value)
    claim.attempt, claim.crashes = meta.attempt + 1, meta.crashes
    claim.run_at, claim.unique, claim.limit = meta.run_at, meta.unique, meta.limit


def reclaim(keys: Keys, limit: int, *, worker: str, lease: float, token: str) -> Request:
    return ask(keys, RECLAIM, b"%d" % limit, number(lease), token.encode(), layout.name(worker))


def reclaimed(queue: str, token: str, reply: list[Any]) -> list[Claim]:
    """What ``reclaim`` took over."""
    claims = []
    for id, own, body, meta, history, note, mark in zip(*reply, strict=True):
        lost = layout.read_own(own)
        priority = layout.priority_of(lost.place)
        claim = Claim(layout.text(id), queue, body[8:], priority, token, 1, handle=lost.place)
        _add_meta(claim, meta)
        claim.history, claim.note = history, note
        claim.lost_worker, claim.lost_at = lost.worker or "", lost.started_at or 0.0
        claim.cancelled = mark is not None
        claims.append(claim)
    return claims


def extend(keys: Keys, claims: Sequence[Claim], lease: float) -> Request:
    return ask(keys, EXTEND, number(lease), *_fences(claims))


def cancelled(keys: Keys, claims: Sequence[Claim]) -> Request:
    return ask(keys, CANCELLED, *_fences(claims))


def _fences(claims: Sequence[Claim]) -> list[bytes]:
    return [part for claim in claims for part in (layout.raw(claim.id), layout.raw(claim.token))]


def save(keys: Keys, claim: Claim) -> Request:
    note = () if claim.note is None else (claim.note,)
    return ask(keys, SAVE, layout.raw(claim.id), layout.raw(claim.token), *note)


# -- settle


def settle(keys: Keys, settlements: Sequence[Settlement], cap: int) -> tuple[Request, list[Claim]]:
    """The request, and the claims in the order its answer counts them."""
    kinds: list[list[Claim]] = [[], [], [], [], []]
    packed: list[list[bytes]] = [[], [], [], [], []]
    uniques: list[bytes] = []
    notes: list[bytes] = []
    size = 0
    for settlement in settlements:
        claim, outcome = settlement.claim, settlement.outcome
        kind, fields = _written(claim, outcome)
        id, token = layout.raw(claim.id), layout.raw(claim.token)
        kinds[kind].append(claim)
        packed[kind].append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(id), id, len(token), token))
        if fields:
            packed[kind] += map(bulk, fields)
        if claim.unique is not None and kind in _ENDS:
            uniques += bulk(layout.raw(claim.unique)), bulk(id)
        if claim.limit is not None:
            uniques += bulk(b"\x00" + limit_text(claim.limit)), bulk(id)
        if claim.note is not None:
            notes += bulk(id), bulk(claim.note)
        size += 2 + len(fields)
    numbers = [b"%d" % each for each in (cap, *map(len, kinds), len(notes) // 2)]
    arguments = (*map(bulk, numbers), *chain(*packed), *uniques, *notes)
    count = 1 + len(SETTLE.keys) + len(numbers) + size + len(uniques) + len(notes)
    request = call(SETTLE, keys.slot, count, keys.head(SETTLE) + b"".join(arguments))
    return request, list(chain(*kinds))


_ENDS = (0, 1, 4)


def _written(claim: Claim, outcome: Done | Retry | Release | Dead) -> tuple[int, tuple[bytes, ...]]:
    """Which kind of ``settle.lua`` an outcome is, and its arguments after id and token."""
    place, attempt, crashes = claim.handle or 0.0, claim.attempt, claim.crashes
    if isinstance(outcome, Done):
        if outcome.ttl <= 0:
            return 0, ()
        fields = layout.done_fields(place, attempt, crashes, outcome.value)
        return 1, (number(outcome.ttl), fields, outcome.history)
    if isinstance(outcome, Retry):
        rest = layout.meta_rest(place, attempt, crashes, claim.unique, claim.limit)
        return 2, (number(outcome.delay), rest, outcome.history)
    if isinstance(outcome, Release):
        # A reclaimed one was counted by the worker that lost it.
        attempt -= claim.lost_at is None
        rest = layout.meta_rest(place, attempt, crashes, claim.unique, claim.limit)
        return 3, (number(outcome.delay), rest)
    fields = layout.dead_fields(place, attempt, crashes, outcome.reason, claim.unique, claim.limit)
    return 4, (fields, outcome.history)


def rounds(settlements: Sequence[Settlement]) -> Iterator[list[Settlement]]:
    """Cut into calls in which no claim's id comes twice."""
    if len({each.claim.id for each in settlements}) == len(settlements) <= CHUNK:
        yield list(settlements)
        return
    part: list[Settlement] = []
    seen: set[str] = set()
    for each in settlements:
        if len(part) == CHUNK or each.claim.id in seen:
            yield part
            part, seen = [], set()
        part.append(each)
        seen.add(each.claim.id)
    if part:
        yield part
