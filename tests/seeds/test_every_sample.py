"""The list of samples is the documents: none may be left out by the tests."""

from pathlib import Path

import pytest

from tests.seeds.samples import FOLDER, SAMPLES


def _others() -> list[Path]:
    return [path for path in FOLDER.glob("*.py") if path.name not in (Path(__file__).name,)]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_played(name: str) -> None:
    texts = [path.read_text("utf-8") for path in _others()]
    assert any(f'"{name}"' in text or f"'{name}'" in text for text in texts)


def test_the_documents_are_read() -> None:
    documents = [name.partition("/")[0] for name in SAMPLES]
    assert {name: documents.count(name) for name in documents} == {
        "article": 1,
        "guide": 19,
        "readme": 20,
    }
