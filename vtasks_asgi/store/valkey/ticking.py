"""Ticks in three steps, of which each may be the last of a process; see ``ticks``."""

from collections.abc import Sequence

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt, Ticked, Ticks
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.valkey import commands, layout, ticks
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.pushing import Call, Pusher


class Ticker:
    """What a store does about schedules."""

    def __init__(self, call: Call, names: Names, pusher: Pusher, doorbell: Doorbell) -> None:
        self._call = call
        self._names = names
        self._pusher = pusher
        self._doorbell = doorbell

    async def read(self, schedules: Sequence[str]) -> Ticks:
        reply = await self._call(ticks.read(self._names, schedules))
        for schedule, value in ticks.left_behind(reply):
            try:
                await self._carry_out(schedule, value)
            except StoreError:
                break  # it stays noted: whoever looks next tries again
        return ticks.known(schedules, reply)

    async def push(self, schedule: str, at: float, message: Message | None) -> Ticked:
        record = ticks.record(self._names, schedule, at, message)
        answer = await self._call(record)
        while isinstance(answer, list):  # an earlier tick comes first
            await self._carry_out(layout.name(schedule), answer[0])
            answer = await self._call(record)
        if answer == b"late":
            return Ticked.LATE
        if message is None:
            return Ticked.SKIPPED
        receipts = await self._fire(schedule, at, message)
        await self._call(ticks.forget(self._names, layout.name(schedule), ticks.stamped(at)))
        return Ticked.SKIPPED if receipts and receipts[0].holder else Ticked.FIRED

    async def _fire(self, schedule: str, at: float, message: Message) -> list[Receipt]:
        """Push, unless somebody has: then there is no receipt."""
        await self._pusher.register(message.queue)
        reply = await self._call(ticks.fire(self._names, schedule, at, message))
        self._doorbell.ring({message.queue})
        if reply == b"late":
            return []
        return commands.receipts(commands.parcels([message]), reply)

    async def _carry_out(self, schedule: bytes, value: bytes) -> None:
        """Do what a process that died had begun."""
        if (intended := ticks.read_intent(value)) is not None:
            await self._fire(layout.read_name(schedule), *intended)
        await self._call(ticks.forget(self._names, schedule, value))
