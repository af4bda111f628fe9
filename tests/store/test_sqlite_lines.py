"""How SQLite lets lines take turns: every look goes through an index, and sorts nothing."""

import pytest
from django.db import connections

from tests.store.helpers import QUEUE
from vtasks_asgi.store.database.sqlite import lines

LOOKS = {
    lines._ANY: ((QUEUE,), {"vtasks_message_lined"}),
    lines._BAND: ((QUEUE,), {"vtasks_message_lined", "vtasks_message_ready"}),
    lines._AFTER: ((QUEUE, 0, -1), {"vtasks_message_lined"}),
    lines._KEYLESS: ((QUEUE, 0), {"vtasks_message_ready"}),
}


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("query", LOOKS, ids=["any", "band", "after", "keyless"])
def test_a_look_is_a_search_in_an_index(query: str) -> None:
    values, indexes = LOOKS[query]
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
        plan = connections["default"].connection.execute(f"EXPLAIN QUERY PLAN {query}", values)
        steps = [step for *_, step in plan.fetchall()]
    searches = [step for step in steps if "vtasks_message" in step]
    assert all(step.startswith("SEARCH vtasks_message USING") for step in searches)
    assert {name for name in indexes if any(name in step for step in searches)} == indexes
    assert len(searches) == len(indexes)
    assert not any("TEMP B-TREE" in step for step in steps)
