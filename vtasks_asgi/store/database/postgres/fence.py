"""Which rows claims stand for: found by primary key whatever the planner thinks, fenced by token.

A join with ``unnest`` would leave the planner a choice. A statement prepared while the queue was
short, and the table just vacuumed, would then walk the whole primary key for every batch until the
table is analysed again.
"""

from collections.abc import Sequence
from typing import Any

from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.database.postgres.arrays import int8s, texts
from vtasks_asgi.store.database.postgres.plan import Query

#: The number of the row ``m`` among the ascending handles ``$1``, from 1.
NUMBER = "width_bucket(m.seq, $1::int8[])"
#: It is one of the handles ``$1``, and held with the token ``$2`` has in the same place.
FENCED = f"m.seq = ANY ($1::int8[]) AND m.token = ($2::text[])[{NUMBER}]"


def rounds(handles: Sequence[int]) -> list[list[int]]:
    """Their places, in lists by which they ascend: one list, unless a handle is repeated."""
    places = sorted(range(len(handles)), key=handles.__getitem__)
    if len(set(handles)) == len(handles):
        return [places] if places else []
    found: list[list[int]] = [[]]
    for place in places:
        fits = (each for each in found if not each or handles[each[-1]] < handles[place])
        if (chosen := next(fits, None)) is None:
            found.append(chosen := [])
        chosen.append(place)
    return found


def values(claims: Sequence[Claim]) -> tuple[Any, Any]:
    """The handles and the tokens, for ``FENCED``."""
    return int8s([claim.handle for claim in claims]), texts(claim.token for claim in claims)


def queries(text: str, claims: Sequence[Claim], *others: Any) -> list[Query]:
    """One statement, or more where a message is claimed twice among these."""
    groups = rounds([claim.handle for claim in claims])
    return [Query(text, (*values([claims[i] for i in group]), *others)) for group in groups]
