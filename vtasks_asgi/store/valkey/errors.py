"""What a Valkey server or its connection answers, in our words. No password ever passes here."""

from vtasks_asgi.core.errors import StoreError, StoreUnavailable


class ReplyError(Exception):
    """An error the server answered: ``code`` is its first word, ``detail`` the rest."""

    def __init__(self, text: str) -> None:
        self.code, _, self.detail = text.partition(" ")
        super().__init__(text)


class NotSent(StoreUnavailable):
    """The server cannot be reached, and it has seen nothing of the request."""


def is_replica(answer: object) -> bool:
    """Does this error mean that the server was the primary and no longer is?"""
    return isinstance(answer, ReplyError) and answer.code in ("READONLY", "MASTERDOWN")


_UNAVAILABLE = {
    "OOM": "the server is out of memory and takes nothing new; raise its maxmemory, or work off"
    " what is queued",
    "NOAUTH": "the server wants a password; put it into BROKER_URL",
    "WRONGPASS": "the server refuses the user name or password of BROKER_URL",
    "LOADING": "the server is still loading its data",
    "BUSY": "the server is busy with a script",
    "READONLY": "the server is a replica, not the primary",
    "MASTERDOWN": "the replica has lost its primary",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "the cluster is moving this queue's slot",
    "MISCONF": "the server cannot write its data to disk and takes nothing new",
    "NOREPLICAS": "too few replicas are connected",
}


def mapped(error: ReplyError) -> StoreError:
    """The error a caller of the store sees."""
    if known := _UNAVAILABLE.get(error.code):
        return StoreUnavailable(f"Valkey: {known}")
    if error.code == "NOPERM":
        return StoreError(
            f"Valkey: the user may not do this ({error.detail}); docs/protocol.md lists the rights"
            " it needs"
        )
    return StoreError(f"Valkey: {error}")
