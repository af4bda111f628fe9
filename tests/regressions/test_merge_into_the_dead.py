"""A debounced call met a message that was cancelled before it began, and whose key was kept.

The reference store let the dead letter take the arguments, and so lost the call.
"""

from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.base import Receipt, State
from vtasks_asgi.store.memory import MemoryStore


async def test_a_dead_letter_takes_no_arguments() -> None:
    store = MemoryStore()
    await store.open()
    kept = Message(new_id(), "default", b"kept", unique="key", keep_unique=60.0)
    await store.push([kept])
    await store.cancel([kept.id])
    call = Message(new_id(), "default", b"call", unique="key", debounce=5.0)
    assert await store.push([call]) == [Receipt(call.id)]
    found = await store.lookup([kept.id, call.id])
    assert (found[kept.id].state, found[kept.id].body) == (State.DEAD, b"kept")
    assert (found[call.id].state, found[call.id].body) == (State.DELAYED, b"call")
