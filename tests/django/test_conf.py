"""Settings: good values from code and environment, wrong ones named together with the fix."""

from typing import Any

import pytest

from tests.django.conftest import Change
from vtasks_asgi import conf
from vtasks_asgi.conf import options
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.exceptions import ConfigurationError

GOOD: list[tuple[str, Any, Any]] = [
    ("VTASKS_BACKEND", "other", "other"),
    ("VTASKS_QUEUES", ["a", "b"], {"a": None, "b": None}),
    ("VTASKS_QUEUES", ("a",), {"a": None}),
    ("VTASKS_QUEUES", {"a": {"worker_concurrency": 5}, "b": {}}, {"a": 5, "b": None}),
    ("VTASKS_BATCH_QUEUES", {"b": {"count": 100, "timeout": 5}}, {"b": Batch(100, 5.0)}),
    (
        "VTASKS_BATCH_QUEUES",
        {"b": {"count": 100, "timeout": 5, "task": "shop.tasks.load", "min_count": 10}},
        {"b": Batch(100, 5.0, "shop.tasks.load", 10)},
    ),
    ("VTASKS_CONCURRENCY", 1, 1),
    ("VTASKS_SCHEDULE", {}, {}),
    ("VTASKS_RUN_SCHEDULER", False, False),
    ("VTASKS_DLQ_CAP", 0, 0),
    ("VTASKS_MAX_RESCUES", 0, 0),
    ("VTASKS_LEASE", 1, 1.0),
    ("VTASKS_LEASE", 2.5, 2.5),
    ("VTASKS_DRAIN_TIMEOUT", 0, 0.0),
    ("VTASKS_EMBEDDED", "off", "off"),
    ("VTASKS_EMBEDDED", True, "on"),
    ("VTASKS_EMBEDDED", False, "off"),
    ("VTASKS_METRICS_PATH", "/internal/metrics", "/internal/metrics"),
    ("VTASKS_METRICS_PATH", None, None),
    ("VTASKS_METRICS_PATH", "", None),
    ("VTASKS_HEALTH_PATH", None, None),
    ("VTASKS_HEALTH_TOKEN", "secret", "secret"),
    ("VTASKS_HEALTH_TOKEN", "", None),
    ("VTASKS_METRICS_ADDRESS", "::1", "::1"),
    ("VTASKS_METRICS_PORT", 9000, 9000),
    ("VTASKS_HEALTH_CHECK_FILE", "/run/worker", "/run/worker"),
    ("VTASKS_WORKER_ID", "w1", "w1"),
    ("VTASKS_IMPORTS", ["shop.jobs"], ("shop.jobs",)),
    ("VTASKS_TASK_CONTEXT", "shop.hooks.around", "shop.hooks.around"),
    ("VTASKS_PROPAGATE", ["shop.context.tenant"], ("shop.context.tenant",)),
    ("VTASKS_VALKEY_PREFIX", "shop", "shop:"),
    ("VTASKS_VALKEY_PREFIX", "shop:blue:", "shop:blue:"),
]

FROM_ENVIRONMENT: list[tuple[str, str, Any]] = [
    ("VTASKS_BACKEND", "other", "other"),
    ("VTASKS_QUEUES", "a, b", {"a": None, "b": None}),
    ("VTASKS_QUEUES", '["a", "b"]', {"a": None, "b": None}),
    ("VTASKS_QUEUES", ' {"a": {"worker_concurrency": 5}}', {"a": 5}),
    ("VTASKS_BATCH_QUEUES", '{"b": {"count": 9, "timeout": 0.5}}', {"b": Batch(9, 0.5)}),
    ("VTASKS_CONCURRENCY", "7", 7),
    (
        "VTASKS_SCHEDULE",
        '{"x": {"task": "a.b", "schedule": 5}}',
        {"x": {"task": "a.b", "schedule": 5}},
    ),
    ("VTASKS_RUN_SCHEDULER", "no", False),
    ("VTASKS_RUN_SCHEDULER", "TRUE", True),
    ("VTASKS_RUN_SCHEDULER", "0", False),
    ("VTASKS_DLQ_CAP", "10", 10),
    ("VTASKS_MAX_RESCUES", "1", 1),
    ("VTASKS_LEASE", "12.5", 12.5),
    ("VTASKS_DRAIN_TIMEOUT", "5", 5.0),
    ("VTASKS_EMBEDDED", "on", "on"),
    ("VTASKS_METRICS_PATH", "", None),
    ("VTASKS_METRICS_PATH", "/m", "/m"),
    ("VTASKS_HEALTH_PATH", "/h", "/h"),
    ("VTASKS_HEALTH_TOKEN", "secret", "secret"),
    ("VTASKS_METRICS_ADDRESS", "", None),
    ("VTASKS_METRICS_PORT", "9000", 9000),
    ("VTASKS_HEALTH_CHECK_FILE", "/run/worker", "/run/worker"),
    ("VTASKS_WORKER_ID", "w1", "w1"),
    ("VTASKS_IMPORTS", "shop.jobs,shop.more", ("shop.jobs", "shop.more")),
    ("VTASKS_TASK_CONTEXT", "shop.hooks.around", "shop.hooks.around"),
    ("VTASKS_PROPAGATE", "shop.context.tenant", ("shop.context.tenant",)),
    ("VTASKS_VALKEY_PREFIX", "shop", "shop:"),
]

WRONG: list[tuple[str, Any, str]] = [
    ("VTASKS_BACKEND", 5, "must be a non-empty string"),
    ("VTASKS_BACKEND", "", "must be a non-empty string"),
    ("VTASKS_QUEUES", 5, "must be a list of names"),
    ("VTASKS_QUEUES", [""], "must be a list of names"),
    ("VTASKS_QUEUES", [5], "must be a list of names"),
    ("VTASKS_QUEUES", [], "must name at least one queue"),
    ("VTASKS_QUEUES", "", "must name at least one queue"),
    ("VTASKS_QUEUES", "{oops", "is not valid JSON"),
    ("VTASKS_QUEUES", ["x" * 101], "a string of 1 to 100 characters"),
    ("VTASKS_QUEUES", {5: {}}, "has the queue name 5"),
    ("VTASKS_QUEUES", {"a": 5}, r"\['a'\] must be a dict such as {'worker_concurrency': 5}"),
    ("VTASKS_QUEUES", {"a": {"slots": 5}}, "unknown option 'slots'; use worker_concurrency"),
    ("VTASKS_QUEUES", {"a": {"worker_concurrency": 0}}, "must be a whole number of at least 1"),
    ("VTASKS_QUEUES", {"a": {"batch": {"count": 0}}}, r"\['a'\]\['batch'\]\['count'\] must be"),
    ("VTASKS_BATCH_QUEUES", ["b"], "must be a dict of queues"),
    ("VTASKS_BATCH_QUEUES", "{oops", "is not valid JSON"),
    ("VTASKS_BATCH_QUEUES", {"": {}}, "has the queue name ''"),
    ("VTASKS_BATCH_QUEUES", {"b": 5}, r"\['b'\] must be a dict such as {'count': 100, 'timeout'"),
    ("VTASKS_CONCURRENCY", 0, "must be a whole number of at least 1"),
    ("VTASKS_CONCURRENCY", True, "must be a whole number of at least 1"),
    ("VTASKS_CONCURRENCY", 2.5, "must be a whole number of at least 1"),
    ("VTASKS_CONCURRENCY", "many", "must be a whole number of at least 1"),
    ("VTASKS_SCHEDULE", [], "must be a dict of schedule entries"),
    ("VTASKS_SCHEDULE", "{oops", "is not valid JSON"),
    ("VTASKS_RUN_SCHEDULER", "maybe", "must be True or False"),
    ("VTASKS_DLQ_CAP", -1, "must be a whole number of at least 0"),
    ("VTASKS_MAX_RESCUES", -1, "must be a whole number of at least 0"),
    ("VTASKS_LEASE", 0.5, "must be a number of seconds, at least 1"),
    ("VTASKS_LEASE", "soon", "must be a number of seconds, at least 1"),
    ("VTASKS_LEASE", float("nan"), "must be a number of seconds, at least 1"),
    ("VTASKS_LEASE", float("inf"), "must be a number of seconds, at least 1"),
    ("VTASKS_LEASE", True, "must be a number of seconds, at least 1"),
    ("VTASKS_DRAIN_TIMEOUT", -1, "must be a number of seconds, at least 0"),
    ("VTASKS_EMBEDDED", "sometimes", "must be one of auto, on, off"),
    ("VTASKS_EMBEDDED", 1, "must be one of auto, on, off"),
    ("VTASKS_METRICS_PATH", "metrics", "must start with a slash and not end with one"),
    ("VTASKS_METRICS_PATH", "/metrics/", "must start with a slash and not end with one"),
    ("VTASKS_HEALTH_PATH", 5, "must be a non-empty string"),
    ("VTASKS_HEALTH_TOKEN", 5, "must be a non-empty string"),
    ("VTASKS_METRICS_PORT", 0, "must be a whole number of at least 1"),
    ("VTASKS_METRICS_PORT", "http", "must be a whole number of at least 1"),
    ("VTASKS_IMPORTS", 5, "must be a list of names"),
    ("VTASKS_TASK_CONTEXT", 5, "must be a non-empty string"),
    ("VTASKS_PROPAGATE", {"a": "b"}, "must be a list of names"),
    ("VTASKS_VALKEY_PREFIX", "", "must be 1 to 64 letters, digits or any of _ . : -"),
    ("VTASKS_VALKEY_PREFIX", "a{b}", "must be 1 to 64 letters, digits or any of _ . : -"),
    ("VTASKS_VALKEY_PREFIX", 5, "must be 1 to 64 letters, digits or any of _ . : -"),
]


def value(name: str) -> Any:
    return getattr(options(), name.removeprefix("VTASKS_").lower())


def test_defaults() -> None:
    assert options().queues == {"default": None}
    assert (options().concurrency, options().backend, options().embedded) == (20, "default", "auto")
    assert (options().lease, options().drain_timeout) == (30.0, 20.0)
    assert (options().dlq_cap, options().max_rescues, options().run_scheduler) == (1000, 3, True)
    assert (options().metrics_path, options().health_path) == ("/metrics", "/vtasks/health")
    assert (options().health_token, options().metrics_port, options().worker_id) == (None,) * 3
    assert (options().schedule, options().imports) == ({}, ())
    assert options().valkey_prefix == "vt:"


def test_every_setting_has_a_good_and_a_wrong_example_here() -> None:
    for examples in (GOOD, FROM_ENVIRONMENT):
        assert {name for name, _, _ in examples} == set(conf.SETTINGS)
    texts = {"VTASKS_METRICS_ADDRESS", "VTASKS_HEALTH_CHECK_FILE", "VTASKS_WORKER_ID"}
    assert {name for name, _, _ in WRONG} | texts == set(conf.SETTINGS)


@pytest.mark.parametrize(("name", "raw", "good"), GOOD)
def test_good_settings(change: Change, name: str, raw: Any, good: Any) -> None:
    change(**{name: raw})
    assert value(name) == good
    assert list(conf.problems()) == []


@pytest.mark.parametrize(("name", "raw", "good"), FROM_ENVIRONMENT)
def test_good_environment_variables(
    change: Change, monkeypatch: pytest.MonkeyPatch, name: str, raw: str, good: Any
) -> None:
    monkeypatch.setenv(name, raw)
    conf.options.cache_clear()
    try:
        assert value(name) == good
    finally:
        conf.options.cache_clear()


@pytest.mark.parametrize(("name", "raw", "error"), WRONG)
def test_wrong_settings(change: Change, name: str, raw: Any, error: str) -> None:
    change(**{name: raw})
    with pytest.raises(ConfigurationError, match=error) as raised:
        options()
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("VTASKS_CONCURRENCY", "none"), ("VTASKS_LEASE", ""), ("VTASKS_QUEUES", "[1]")],
)
def test_wrong_environment_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, raw: str
) -> None:
    monkeypatch.setenv(name, raw)
    conf.options.cache_clear()
    with pytest.raises(ConfigurationError, match=name):
        options()


def test_the_setting_wins_over_the_environment(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTASKS_CONCURRENCY", "7")
    monkeypatch.setenv("VTASKS_METRICS_PATH", "/from/environment")
    change(VTASKS_CONCURRENCY=9, VTASKS_METRICS_PATH=None)
    assert options().concurrency == 9
    assert options().metrics_path is None


def test_none_in_code_leaves_the_choice_where_it_means_nothing(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTASKS_CONCURRENCY", "7")
    change(VTASKS_CONCURRENCY=None, VTASKS_LEASE=None)
    assert (options().concurrency, options().lease) == (7, 30.0)


def test_all_problems_are_told_at_once(change: Change) -> None:
    change(VTASKS_CONCURRENCY=0, VTASKS_LEASE=0)
    with pytest.raises(ConfigurationError) as raised:
        options()
    assert "VTASKS_CONCURRENCY" in str(raised.value)
    assert "VTASKS_LEASE" in str(raised.value)
    assert len(list(conf.problems())) == 2


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("VTASKS_CONCURENCY", "VTASKS_CONCURRENCY"),
        ("VTASKS_QUEUE", "VTASKS_QUEUES"),
        ("VTASKS_SCHEDULES", "VTASKS_SCHEDULE"),
        ("VTASKS_HEALTHCHECK_FILE", "VTASKS_HEALTH_CHECK_FILE"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(
    change: Change, unknown: str, near: str
) -> None:
    change(**{unknown: 5})
    with pytest.raises(ConfigurationError, match=f"{unknown} is not .*did you mean {near}"):
        options()


def test_an_unknown_name_unlike_any_gets_no_guess(change: Change) -> None:
    change(VTASKS_XYZZY=5)
    [problem] = conf.problems()
    assert problem == "VTASKS_XYZZY is not a setting of vtasks_asgi"


@pytest.mark.parametrize("name", sorted(conf.LATER))
def test_settings_of_the_ancestor_are_no_errors(change: Change, name: str) -> None:
    change(**{name: 5})
    assert list(conf.problems()) == []
    assert list(conf.not_yet()) == [name]


def test_a_changed_setting_is_seen(change: Change) -> None:
    before = options().concurrency
    change(VTASKS_CONCURRENCY=before + 1)
    assert options().concurrency == before + 1
