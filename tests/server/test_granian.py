"""The wrapper under a real Granian: what the server really does, and what must then hold."""

import signal
import threading
from pathlib import Path
from typing import Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ledger import Word
from tests.processes import wait_for
from tests.projects import EVERY_SECOND, project

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_one_process_serves_and_works(tmp_path: Path, loop: Literal["asyncio", "uvloop"]) -> None:
    with project(tmp_path) as it:
        server = it.granian(loop=loop)
        for view in ("enqueue", "enqueue-sync"):
            for task in ("nap", "doze"):
                reply = server.get(f"/{view}?task={task}&key={view}.{task}&count=5")
                assert reply.status == 200, reply.body
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert {run.pid for run in it.book().runs} == {server.worker()}
        metrics = server.get("/metrics").body.decode()
        assert _processed(metrics) == {"nap": 10, "doze": 10}, "the ledger says otherwise"
        assert it.complaints() == []


def _processed(metrics: str) -> dict[str, float]:
    """Successful runs by the function's name, as Prometheus reads them."""
    return {
        sample.labels["task_name"].rpartition(".")[2]: sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "vtasks_tasks_processed_total" and sample.labels["status"] == "success"
    }


def test_own_pages_answer_while_a_sync_view_is_busy(tmp_path: Path) -> None:
    """Django runs sync views one at a time; who asks after health must not stand in that line."""
    with project(tmp_path) as it:
        server = it.granian()
        replies = []
        views = [
            threading.Thread(target=lambda: replies.append(server.get("/busy?gate=view")))
            for _ in range(2)
        ]
        for view in views:
            view.start()
        wait_for((tmp_path / "gates" / "view-reached").exists, "the view begins")
        for path in ("/vtasks/health", "/vtasks/health/live", "/vtasks/health/ready", "/metrics"):
            assert server.get(path).status == 200
            assert server.get(path, method="HEAD").body == b""
        assert server.get("/enqueue?task=nap&key=meanwhile").status == 200
        wait_for(lambda: it.book().effects()["meanwhile"], "a task runs meanwhile")
        assert not replies, "the view ended before anybody let it"
        it.open_gate("view")
        for view in views:
            view.join()
        assert [reply.status for reply in replies] == [200, 200]


def test_two_workers_share_the_work_and_each_tick_fires_once(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_SCHEDULE=EVERY_SECOND, VTASKS_CONCURRENCY=3) as it:
        server = it.granian("--workers", "2")
        client = it.client()
        client.do("feed", "f", [["nap", [0.1]], ["doze", [0.1]]], 0.03)
        wait_for(lambda: len(it.book().ticks("each")) >= 5, "five ticks")
        wait_for(lambda: len({run.pid for run in it.book().runs}) == 2, "both workers have work")
        client.do("rest")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        it.worker()  # for what the two had not come to
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert it.book().missing_ticks("each") == set()
        assert it.complaints() == []
