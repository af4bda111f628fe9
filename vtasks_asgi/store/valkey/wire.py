"""Requests and replies as bytes (RESP 2). Pure.

A script's arguments are packed once: by its hash or in full, the request differs only in front.
"""

from dataclasses import dataclass
from typing import Any

import libvalkey

from vtasks_asgi.store.valkey.errors import ReplyError
from vtasks_asgi.store.valkey.scripts import Script

#: What a reader says while a reply is incomplete; None and False are replies.
INCOMPLETE = object()


def reader() -> libvalkey.Reader:
    """A parser of replies, whose error replies are ReplyError objects."""
    return libvalkey.Reader(replyError=ReplyError, notEnoughData=INCOMPLETE)


def bulk(value: bytes) -> bytes:
    """One argument, packed."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def pack(*args: str | bytes | int | float) -> bytes:
    """A whole command, packed."""
    packed: bytes = libvalkey.pack_command(args)
    return packed


ASKING = pack("ASKING")


@dataclass(slots=True)
class Request:
    """A command for the server that has ``slot``."""

    slot: int
    payload: bytes
    #: The same with the script's text, for a server that does not know its hash.
    script: Script | None = None
    count: int = 0
    tail: bytes = b""

    @property
    def in_full(self) -> bytes:
        assert self.script is not None
        return b"*%d\r\n%b%b" % (self.count, self.script.by_text, self.tail)


def call(script: Script, slot: int, count: int, tail: bytes) -> Request:
    """Run a script whose number of keys, keys and arguments, ``count`` of them, are in ``tail``."""
    count += 2
    payload = b"*%d\r\n%b%b" % (count, script.by_hash, tail)
    return Request(slot, payload, script, count, tail)


def command(slot: int, *args: Any) -> Request:
    """Run a plain command."""
    return Request(slot, pack(*args))
