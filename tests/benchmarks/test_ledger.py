"""What counts the executions: from any thread, and from processes forked off."""

import asyncio
import os
import threading

import pytest

from benchmarks.sides.ledger import Ledger


async def test_threads_are_counted_and_the_last_one_is_announced() -> None:
    ledger = Ledger()
    done = ledger.reaches(400)

    def work(begin: int) -> None:
        for number in range(begin, 400, 4):
            ledger.add(number)

    threads = [threading.Thread(target=work, args=(begin,)) for begin in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(done.wait(), 30)
    for thread in threads:
        thread.join()
    assert ledger.counts() == {
        "executed": 400,
        "total": sum(range(400)),
        "squares": sum(number * number for number in range(400)),
    }


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_what_forks_execute_is_counted_here() -> None:
    ledger = Ledger()
    with ledger.counting_forks():
        children = [_forked(ledger, number) for number in (3, 4)]
        for child in children:
            os.waitpid(child, 0)
    ledger.add(5)
    assert ledger.counts() == {"executed": 3, "total": 12, "squares": 50}


def _forked(ledger: Ledger, number: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            ledger.add(number)
        finally:
            os._exit(0)
    return child
