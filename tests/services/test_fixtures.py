"""What is told of a service that is missing, and of a test that uses one."""

import pytest

from tests.missing import need
from tests.services.valkey import Valkey


def test_a_test_with_a_shared_service_is_marked(
    valkey: Valkey, request: pytest.FixtureRequest
) -> None:
    assert valkey.alive
    assert request.node.get_closest_marker("server")


def test_what_is_missing_skips_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    need("it", None)
    with pytest.raises(pytest.skip.Exception, match="it: not installed"):
        need("it", "not installed")


def test_what_is_missing_fails_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    need("it", None)
    with pytest.raises(pytest.fail.Exception, match="it: not installed"):
        need("it", "not installed")
