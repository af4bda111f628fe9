"""The embedded worker's sample as a file, under a real Granian started as the README says."""

import sys
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.ledger import Word
from tests.processes import ROOT, Server, free_port
from tests.projects import project
from tests.seeds.samples import commands, sample

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(180)]


def test_one_process_serves_and_works(tmp_path: Path, broker: Broker) -> None:
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "settings.py").write_text("from tests.project.settings import *\n")
    (package / "asgi_embedded.py").write_text(sample("readme/embedded"))
    [[granian, *options]] = commands("readme/granian")
    assert options[-4:] == ["--host", "0.0.0.0", "--port", "8000"]
    port = free_port()
    command = [sys.executable, "-m", granian, *options[:-4], "--host", "127.0.0.1", "--port"]
    environment: dict[str, object] = {
        "DJANGO_SETTINGS_MODULE": "sample.settings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    with project(tmp_path, broker) as it:
        server = it._start(Server, "granian", [*command, str(port)], environment)
        server.port = port
        server.wait_status("/vtasks/health/ready", 200)
        for view in ("enqueue", "enqueue-sync"):
            assert server.get(f"/{view}?task=nap&key={view}&count=3").status == 200
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert len(it.book().runs) == 6
        assert it.complaints() == []
