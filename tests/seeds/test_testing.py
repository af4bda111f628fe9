"""The samples of test cases: they pass, and their tasks have run."""

import unittest
from io import StringIO
from typing import Any

import pytest
from django.tasks import task_backends
from django.test import TestCase, override_settings

from tests.seeds import world
from tests.seeds.samples import run_sample
from tests.seeds.world import SEEN


@pytest.mark.parametrize(
    ("name", "case", "seen"),
    [
        ("guide/immediate", "MyTaskTests", ["my_task"]),
        ("guide/batching", "MyBatchingTest", [[0, 1, 2, 3, 4]]),
    ],
)
def test_the_test_cases_pass(name: str, case: str, seen: list[Any]) -> None:
    names = {"my_task": world.myapp.my_task, "process_batch": world.myapp.process_batch}
    given: dict[str, Any] = {"TestCase": TestCase, "override_settings": override_settings}
    made = run_sample(name, task_backends=task_backends, **names, **given)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(made[case])
    result = unittest.TextTestRunner(stream=StringIO()).run(suite)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    assert seen == SEEN
