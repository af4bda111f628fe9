"""Stopping with work in flight: what fits the drain ends, the rest is released, nothing is claimed.

The scenario is the same for Granian on both loops, for a client that never finishes its request
(then lifespan.shutdown stays away: granian#547), and for the standalone worker.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.brokers import READY, RUNNING
from tests.ledger import Book, Fault, Run, Verdict, Word
from tests.processes import Client, Process, Server, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.server, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

DRAIN = 4.0
#: The promise is drain + 2 s; the rest is for machines with more to do than this test.
EXIT_BOUND = DRAIN + 2.0 + 6.0
#: Granian kills a worker that takes longer than the first; the second is soon enough to tell.
KILL, SOON = "--workers-kill-timeout=60", 20.0
#: A signal reaches Granian's worker by way of its supervisor.
SIGNAL_TRAVELS = 1.0
BACKLOG = 300


def start(it: Project, how: str) -> Process:
    if how == "runworker":
        return it.worker()
    return it.granian(loop="asyncio" if how == "asyncio" else "uvloop")


@contextmanager
def half_sent_body(server: Server) -> Iterator[None]:
    """A client that announces a body, sends the half of it, and goes quiet."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n"
        client.sendall(head + b"12345")
        # Only when another request has been answered is this one surely on its way.
        assert server.get("/who").status == 200
        yield


def fill(client: Client) -> dict[str, str]:
    """Two tasks that fit the drain, two that do not, and more short ones than can be done."""
    ids = {
        key: client.do("enqueue", task, key, *seconds)
        for key, task, seconds in (
            ("three-async", "nap", [3.0]),
            ("three-sync", "doze", [3.0]),
            ("late-async", "gated", []),
            ("late-sync", "gated_sync", []),
        )
    }
    # In one step: one by one they would take longer here than the first two tasks run.
    client.do("enqueue_many", "nap", [f"short.{number}" for number in range(BACKLOG)], 0.05)
    return ids


def stop_with_work(it: Project, how: str, *, held: bool = False) -> Verdict:
    """The scenario, up to a second process that does what was left."""
    process = start(it, how)
    pid = process.worker() if isinstance(process, Server) else process.pid
    client = it.client()
    ids = fill(client)
    wait_for(lambda: {run.key for run in it.book().in_flight(pid)} >= set(ids), "all four run")
    if held:
        assert isinstance(process, Server)
        with half_sent_body(process):
            at = process.signal(signal.SIGTERM)
            wait_for(lambda: released(it, ids, at), "late work is released")
            assert process.alive, "Granian did not wait for the client, so nothing was shown"
    else:
        at = process.signal(signal.SIGTERM)
    broken = list(_exit(process, at, held=held))
    broken += _after(it, ids, at)
    second = it.worker()
    for key in ("late-async", "late-sync"):
        it.open_gate(f"{key}-{second.pid}")
    broken += _attempts(client, ids)
    return it.verdict(Fault(pid, at, "stopped"), also=broken)


def released(it: Project, ids: dict[str, str], at: float) -> bool:
    """Is the late work given back? Meanwhile nothing may have been claimed."""
    assert not started_after(it.book(), at), "claimed after the signal"
    return all(it.row(ids[key])["state"] == READY for key in ("late-async", "late-sync"))


def started_after(book: Book, at: float) -> list[Run]:
    return [run for run in book.runs if run.start > at + SIGNAL_TRAVELS]


def _exit(process: Process, at: float, *, held: bool) -> Iterator[str]:
    try:
        code = process.wait(EXIT_BOUND + (10 if held else 0))
    except subprocess.TimeoutExpired:
        yield f"still alive {time.monotonic() - at:.0f} s after the signal"
        return
    if code != 0:
        yield f"exit code {code}"


def _after(it: Project, ids: dict[str, str], at: float) -> Iterator[str]:
    """What the ledger and the store's rows must look like once the process is gone."""
    book = it.book()
    if claimed := started_after(book, at):
        yield f"claimed after the signal: {len(claimed)}"
    for key in ("three-async", "three-sync"):
        if book.of(key)[0].end is None:
            yield f"{key} did not end within the drain"
    rows: dict[str, dict[str, Any]] = {row["uid"]: row for row in it.rows()}
    for key in ("late-async", "late-sync"):
        row = rows[ids[key]]
        if (row["state"], row["attempt"], row["token"]) != (READY, 0, None):
            yield f"{key} was not released with its attempt given back: {row}"
    if left := [row for row in rows.values() if row["state"] == RUNNING]:
        yield f"still claimed: {len(left)}"


def _attempts(client: Client, ids: dict[str, str]) -> Iterator[str]:
    def done(id: str) -> dict[str, Any] | None:
        result: dict[str, Any] = client.do("result", id)
        return result if result["status"] == "SUCCESSFUL" else None

    for key, id in ids.items():
        result = wait_for(partial(done, id), f"{key} succeeds")
        if result["attempts"] != 1:
            yield f"{key} took {result['attempts']} attempts"


@pytest.mark.parametrize("how", ["asyncio", "uvloop", "runworker"])
def test_sigterm_with_work_in_flight(tmp_path: Path, how: str) -> None:
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=DRAIN, VTASKS_CONCURRENCY=6) as it:
        verdict = stop_with_work(it, how)
        assert verdict.word is Word.KEPT, verdict
        assert it.complaints() == []


def test_a_half_sent_request_does_not_delay_the_drain(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=DRAIN, VTASKS_CONCURRENCY=6) as it:
        verdict = stop_with_work(it, "uvloop", held=True)
        assert verdict.word is Word.KEPT, verdict


@pytest.mark.parametrize("how", ["asyncio", "uvloop", "runworker"])
def test_control_c_lets_work_end_quietly(tmp_path: Path, how: str) -> None:
    """A terminal sends SIGINT to every process of the group at once."""
    with project(tmp_path) as it:
        process = start(it, how)
        client = it.client()
        for task in ("nap", "doze"):
            client.do("enqueue", task, task, 1.0)
        wait_for(lambda: len(it.book().runs) == 2, "both run")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 0
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert it.complaints() == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_control_c_when_the_supervisors_signal_comes_at_once(
    tmp_path: Path, loop: Literal["asyncio", "uvloop"]
) -> None:
    """uvloop reports it twice when it comes while the terminal's is being read."""
    with project(tmp_path, MUTANT="meeting") as it:
        client = it.client()
        for number in range(3):
            server = it.granian(KILL, loop=loop)
            for task in ("nap", "doze"):
                client.do("enqueue", task, f"{task}.{number}", 1.0)
            wait_for(lambda: len(it.book().in_flight(server.worker())) == 2, "both run")  # noqa: B023
            os.killpg(server.pid, signal.SIGINT)
            assert server.wait(SOON) == 0
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert it.complaints() == []


def control_c_thrice(it: Project, loop: Literal["asyncio", "uvloop"]) -> None:
    """Granian waits for a client meanwhile; what runs must end or be released all the same."""
    server, client = it.granian(KILL, loop=loop), it.client()
    ids = [client.do("enqueue", task, task) for task in ("gated", "gated_sync")]
    client.do("enqueue", "nap", "nap", 1.0)
    wait_for(lambda: len(it.book().runs) == 3, "all three run")
    with half_sent_body(server):
        os.killpg(server.pid, signal.SIGINT)
        wait_for(lambda: "Stopping worker-1" in server.text, "Granian stops")
        for _ in range(2):
            os.killpg(server.pid, signal.SIGINT)
            time.sleep(0.1)  # two at a time may count as one
        wait_for(lambda: all(it.row(id)["state"] == READY for id in ids), "released", SOON)
        assert server.alive, "Granian did not wait for the client, so nothing was shown"
    assert server.wait(SOON) == 0
    assert it.book().of("nap")[0].end is not None, "the drain was not awaited"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_control_c_again_and_again(tmp_path: Path, loop: Literal["asyncio", "uvloop"]) -> None:
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=3) as it:
        control_c_thrice(it, loop)
        assert it.complaints() == []


def test_control_granian_as_it_is_freezes_at_the_third_signal(tmp_path: Path) -> None:
    """When this fails, Granian has been mended and ``granian_stop.Stop`` may go."""
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=3, MUTANT="unmended") as it:
        with pytest.raises(AssertionError, match="released"):
            control_c_thrice(it, "uvloop")


@pytest.mark.parametrize("to", [os.kill, os.killpg])
def test_a_stop_that_comes_before_granian_listens(
    tmp_path: Path, to: Callable[[int, int], None]
) -> None:
    with project(tmp_path) as it:
        it.client().do("enqueue", "gated", "none")
        server = it.granian(KILL, ready=False)
        wait_for(lambda: "Spawning worker-1" in server.text, "the worker is forked")
        to(server.pid, signal.SIGINT)
        server.wait(SOON)
        assert {row["state"] for row in it.rows()} == {READY}


def test_a_second_signal_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=600, VTASKS_LEASE=2) as it:
        worker = it.worker()
        it.client().do("enqueue", "gated_sync", "long")
        wait_for(lambda: it.book().in_flight(worker.pid), "it runs")
        worker.signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(1)
        fault = Fault(worker.pid, worker.signal(signal.SIGTERM), "second signal")
        assert worker.wait() == 130
        it.open_gate(f"long-{it.worker().pid}")
        verdict = it.verdict(fault)
        assert verdict.word is Word.KEPT, verdict


def test_control_stopping_by_lifespan_alone_goes_on_claiming(tmp_path: Path) -> None:
    deaf: dict[str, Any] = {
        "VTASKS_DRAIN_TIMEOUT": DRAIN,
        "VTASKS_CONCURRENCY": 6,
        "MUTANT": "deaf",
    }
    with project(tmp_path, **deaf) as it:
        with pytest.raises(AssertionError, match="claimed after the signal"):
            stop_with_work(it, "uvloop", held=True)
