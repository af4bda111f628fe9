"""Which queues there are, in every dialect: from name to name along an index, however many rows."""

_WALK = """
{name}(queue) AS (
    SELECT min(m.queue) FROM {table} AS m WHERE {where}
    UNION ALL
    SELECT (SELECT min(m.queue) FROM {table} AS m WHERE {where} AND m.queue > {name}.queue)
    FROM {name} WHERE {name}.queue IS NOT NULL)
"""

#: Live messages where each state has an index of its own.
BY_STATE = tuple(f"m.state = {state}" for state in range(4))


def known_queues(*parts: str) -> str:
    """A query for the queues of live messages and dead letters.

    ``parts`` are conditions that together are true of every live message, each with an index whose
    first column is the queue.
    """
    places = [("vtasks_message", where) for where in parts] + [("vtasks_deadletter", "1 = 1")]
    walks = [
        _WALK.format(name=f"walk{number}", table=table, where=where)
        for number, (table, where) in enumerate(places)
    ]
    found = [f"SELECT queue FROM walk{n} WHERE queue IS NOT NULL" for n in range(len(walks))]
    return f"WITH RECURSIVE {','.join(walks)} {' UNION '.join(found)}"
