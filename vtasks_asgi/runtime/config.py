"""What a runtime needs to know, decided before it is built. Times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vtasks_asgi.core.batch import Batch


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Some queues that share ``size`` slots."""

    queues: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """``poll`` bounds how long a consumer sleeps without looking, whatever the doorbell does.

    ``batches`` are those of the pools' queues whose messages are run many at a time.
    """

    worker: str
    pools: tuple[PoolConfig, ...]
    lease: float = 30.0
    drain_timeout: float = 20.0
    poll: float = 1.0
    reclaim_every: float = 1.0
    sample_every: float = 5.0
    prune_every: float = 60.0
    batches: Mapping[str, Batch] = field(default_factory=dict)

    @property
    def stale_after(self) -> float:
        """The age at which a claim that nobody renewed may soon be somebody else's."""
        return self.lease / 3

    @property
    def queues(self) -> tuple[str, ...]:
        """All queues consumed."""
        return tuple(queue for pool in self.pools for queue in pool.queues)
