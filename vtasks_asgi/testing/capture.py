"""Records what is enqueued, on every backend."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, overload

from django.db import DEFAULT_DB_ALIAS
from django.tasks import task_backends
from django.tasks.signals import task_enqueued

from vtasks_asgi.results import AnyResult
from vtasks_asgi.testing.backends import memory_tasks
from vtasks_asgi.transactions import Fate, decided, fate_in

#: The innermost comes last.
active: list["Captured"] = []


class Captured(Sequence[AnyResult]):
    """The results of what was enqueued, in order, less what was rolled back since."""

    def __init__(self) -> None:
        self._recorded: list[tuple[AnyResult, Fate | None]] = []

    def record(self, result: AnyResult) -> None:
        """Add one; its fate is that of the transaction this is called in, if any."""
        backend = task_backends[result.backend]
        database = getattr(backend, "database", DEFAULT_DB_ALIAS)
        known = [fate for _, fate in self._recorded[-1:] if fate]
        self._recorded.append((result, fate_in(database, known)))

    @property
    def _kept(self) -> list[AnyResult]:
        known = decided({fate for _, fate in self._recorded if fate})
        rolled_back = {fate for fate, kept in known.items() if not kept}
        self._recorded = [each for each in self._recorded if each[1] not in rolled_back]
        return [result for result, _ in self._recorded]

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> AnyResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnyResult]: ...
    def __getitem__(self, index: int | slice) -> AnyResult | list[AnyResult]:
        return self._kept[index]


@contextmanager
def capture_tasks(*, swallow: bool = False) -> Iterator[Captured]:
    """Record every enqueue of this process while the body runs.

    They reach their store, or run, as they always do; with ``swallow`` they are recorded and
    dropped. Within the body ``assert_enqueued`` and its kin look at what was recorded.
    """
    captured = Captured()

    def hear(task_result: AnyResult, **kwargs: Any) -> None:
        captured.record(task_result)

    with ExitStack() as stack:
        if swallow:
            stack.enter_context(memory_tasks())
        task_enqueued.connect(hear)
        stack.callback(task_enqueued.disconnect, hear)
        active.append(captured)
        stack.callback(active.remove, captured)
        yield captured
