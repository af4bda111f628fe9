"""A debounced message was merged into a dead letter that still held its key, and never ran."""

from tests.fakes import FakeClock
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.memory import MemoryStore


async def test_a_cancelled_message_whose_key_is_kept_takes_no_body() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    await store.push([Message("kept", "default", b"", unique="key", keep_unique=60.0)])
    await store.cancel(["kept"])
    [receipt] = await store.push([Message("next", "default", b"", unique="key", debounce=5.0)])
    assert (receipt.stored, receipt.holder) == (True, None)
