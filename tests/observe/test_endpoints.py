"""Raw ASGI scopes against the pages: which are ours, what they answer, what they keep to us."""

import asyncio
import json
import threading
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from vtasks_asgi.observe import pages
from vtasks_asgi.observe.endpoints import MAX_MOUNTS, Endpoints, Scope
from vtasks_asgi.observe.pages import HEALTH_PATH, METRICS_PATH
from vtasks_asgi.runtime.health import Health, QueueHealth, Status

TOKEN = "s3cret-token-abcdefgh"
PATHS = [METRICS_PATH, HEALTH_PATH, f"{HEALTH_PATH}/live", f"{HEALTH_PATH}/ready"]
type Headers = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def health(status: Status = Status.OK) -> Health:
    return Health(
        status,
        problems=["store_unavailable"],
        worker="web-1.internal.example-4711",
        queues={"default": QueueHealth(idle_for=1.23456, running=2, oldest_ready=None)},
        ticks={"nightly": 3.0},
        loop_lag=0.01,
        uptime=12.5,
    )


def endpoints(status: Status = Status.OK, /, **options: Any) -> Endpoints:
    options.setdefault("registry", CollectorRegistry())
    return Endpoints(lambda: health(status), **options)


def scope(path: str, **more: Any) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [], **more}


def bearer(token: str) -> Headers:
    return [(b"authorization", b"Bearer " + token.encode())]


async def ask(it: Endpoints, request: Scope) -> Answer | None:
    """What the wrapper does; None when the request goes on to Django."""
    if request["path"] not in it.own or (handler := it.match(request)) is None:
        return None
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await handler(request, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert len(headers) == len(start["headers"]), "a header was sent twice"
    return Answer(start["status"], headers, body["body"])


async def get(it: Endpoints, path: str, **more: Any) -> Answer:
    answer = await ask(it, scope(path, **more))
    assert answer is not None
    return answer


# -- which requests are ours


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_our_paths_are_answered(path: str, method: str) -> None:
    answer = await get(endpoints(), path, method=method)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_headers_of_get_and_no_body(path: str) -> None:
    it = endpoints()
    by_get, by_head = await get(it, path), await get(it, path, method="HEAD")
    assert by_head.headers == by_get.headers
    assert int(by_get.headers["content-length"]) == len(by_get.body)
    assert by_head.body == b""


HOSTILE = [
    {"path": "/"},
    {"path": ""},
    {"path": "//metrics"},
    {"path": "/metrics/"},
    {"path": "/Metrics"},
    {"path": "/METRICS"},
    {"path": "metrics"},
    {"path": "/metrics "},
    {"path": "/metrics\x00"},
    {"path": "/metrics;a=b"},
    {"path": "/metrics/../metrics"},
    {"path": "/./metrics"},
    {"path": "/ｍetrics"},  # noqa: RUF001
    {"path": "/vtasks"},
    {"path": "/vtasks/health/"},
    {"path": "/vtasks//health"},
    {"path": "/vtasks/health/live/"},
    {"path": "/vtasks/health/other"},
    {"path": "/vtasks/./health", "raw_path": b"/vtasks/%2e/health"},
    {"path": "/vtasks/health", "raw_path": b"/vtasks%2fhealth"},
    {"path": "/metrics", "raw_path": b"/%6detrics"},
    {"path": "/metrics", "raw_path": b"/%6Detrics?metrics"},
    {"path": "/app/metrics"},
    {"path": "/application/metrics", "root_path": "/app"},
    {"path": "/appmetrics", "root_path": "/app"},
    {"path": "/app//metrics", "root_path": "/app"},
    {"path": "/app/app/metrics", "root_path": "/app"},
    {"path": "/app/metrics", "root_path": "/app", "raw_path": b"/app/%6detrics"},
    {"path": "/app/metrics", "root_path": "/other"},
    {"path": "/metrics", "type": "websocket"},
    {"path": "/vtasks/health/live", "type": "websocket"},
    {"path": "/metrics", "type": "webtransport"},
]


@pytest.mark.parametrize("parts", HOSTILE, ids=str)
async def test_everything_else_goes_on_to_django(parts: dict[str, Any]) -> None:
    it = endpoints()
    it.mount("/app")
    it.mount(parts.get("root_path", ""))
    request = scope(**{"path": "/"} | parts)
    assert it.match(request) is None
    assert await ask(it, request) is None


def test_a_lifespan_scope_has_no_path_and_is_not_ours() -> None:
    assert endpoints().match({"type": "lifespan"}) is None


@pytest.mark.parametrize("root", ["/app", "/app/", "/a b/c", "/über"])
@pytest.mark.parametrize("path", PATHS)
async def test_root_path_repeated_in_path_or_not(root: str, path: str) -> None:
    it = endpoints()
    it.mount(root)
    repeated = root.rstrip("/") + path
    raw = b"/whatever%20that/is" + path.encode()
    for request in (
        scope(repeated, root_path=root),
        scope(repeated, root_path=root, raw_path=raw),
        scope(path, root_path=root),
        scope(path, root_path=root, raw_path=path.encode()),
    ):
        answer = await ask(it, request)
        assert answer is not None, request
        assert answer.status == 200


def test_an_empty_root_path_adds_nothing() -> None:
    it = endpoints()
    for root in ("", "/"):
        it.mount(root)
    assert sorted(it.own) == sorted(PATHS)


def test_mounts_are_bounded() -> None:
    it = endpoints()
    for number in range(1000):
        it.mount(f"/{number}")
    assert len(it.own) == len(PATHS) * (MAX_MOUNTS + 1)
    assert "/0/metrics" in it.own


async def test_a_raw_path_with_its_query_is_understood() -> None:
    answer = await ask(endpoints(), scope("/metrics", raw_path=b"/metrics?a=%20"))
    assert answer is not None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"])
async def test_other_methods_are_refused(path: str, method: str) -> None:
    answer = await get(endpoints(token=TOKEN), path, method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


# -- configuration


async def test_paths_can_be_moved_and_turned_off() -> None:
    assert list(endpoints(metrics_path="/m", health_path="/ops/up").own) == [
        "/ops/up",
        "/ops/up/live",
        "/ops/up/ready",
        "/m",
    ]
    assert list(endpoints(health_path=None).own) == [METRICS_PATH]
    assert sorted(endpoints(metrics_path=None).own) == sorted(set(PATHS) - {METRICS_PATH})
    for nothing in (None, ""):
        assert endpoints(metrics_path=nothing, health_path=nothing).own == {}


BAD_PATHS = ["metrics", "/", "/metrics/", "//m", "/a//b", "/.", "/..", "/a/../b", "/ü", "/a b"]


@pytest.mark.parametrize("path", [*BAD_PATHS, "/a%20b", "/a?b", "/a\n", "/a/."])
@pytest.mark.parametrize("option", ["metrics_path", "health_path"])
def test_a_malformed_path_is_refused(option: str, path: str) -> None:
    options: dict[str, Any] = {option: path}
    with pytest.raises(ValueError, match=f"VTASKS_{option.upper()} is"):
        endpoints(**options)


def test_dots_within_a_name_are_fine() -> None:
    assert "/.well-known/metrics..v1" in endpoints(metrics_path="/.well-known/metrics..v1").own


def test_two_pages_cannot_share_a_path() -> None:
    with pytest.raises(ValueError, match="is also a health page"):
        endpoints(metrics_path="/up/live", health_path="/up")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "Ünicode", " "])
def test_a_token_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ValueError, match="VTASKS_HEALTH_TOKEN") as caught:
        endpoints(token=token)
    assert token.strip() == "" or token not in str(caught.value)


# -- health


@pytest.mark.parametrize("status", list(Status))
async def test_health_tells_the_status_and_nothing_else(status: Status) -> None:
    it = endpoints(status, token=TOKEN)
    expected = 200 if status is Status.OK else 503
    for path in (HEALTH_PATH, f"{HEALTH_PATH}/ready"):
        answer = await get(it, path)
        assert (answer.status, answer.json()) == (expected, {"status": status.value})
        assert answer.headers["content-type"] == "application/json"
    live = await get(it, f"{HEALTH_PATH}/live")
    assert (live.status, live.json()) == (200, {"status": "alive"})


DETAILS = {
    "status": "degraded",
    "problems": ["store_unavailable"],
    "queues": {"default": {"idle_for": 1.235, "running": 2, "oldest_ready": None, "paused": False}},
    "ticks": {"nightly": 3.0},
    "loop_lag": 0.01,
    "uptime": 12.5,
}


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER  "])
async def test_details_with_the_token(scheme: bytes) -> None:
    it = endpoints(Status.DEGRADED, token=TOKEN)
    headers = [(b"Authorization", scheme + TOKEN.encode())]
    answer = await get(it, HEALTH_PATH, headers=headers)
    assert (answer.status, answer.json()) == (503, DETAILS)
    head = await get(it, HEALTH_PATH, headers=headers, method="HEAD")
    assert head.headers == answer.headers
    ready = await get(it, f"{HEALTH_PATH}/ready", headers=headers)
    assert ready.json() == {"status": "degraded"}


@pytest.mark.parametrize("token", [None, "", TOKEN])
async def test_details_in_debug(token: str | None) -> None:
    answer = await get(endpoints(Status.DEGRADED, debug=True, token=token), HEALTH_PATH)
    assert answer.json() == DETAILS


async def test_nobody_learns_the_worker_or_the_token() -> None:
    it = endpoints(token=TOKEN, debug=True)
    for path in PATHS:
        for headers in ([], bearer(TOKEN), bearer("wrong")):
            answer = await get(it, path, headers=headers)
            told = answer.body.decode() + repr(answer.headers)
            assert "internal.example" not in told
            assert TOKEN not in told


WRONG: list[Headers] = [
    [],
    bearer(""),
    bearer(TOKEN[:-1]),
    bearer(TOKEN + "x"),
    bearer(TOKEN.upper()),
    bearer(f"{TOKEN} {TOKEN}"),
    bearer("ü"),
    bearer("\x00"),
    [(b"authorization", TOKEN.encode())],
    [(b"authorization", b"Basic " + TOKEN.encode())],
    [(b"authorization", b"Bearer" + TOKEN.encode())],
    bearer(TOKEN) + bearer(TOKEN),
    bearer("wrong") + bearer(TOKEN),
    [(b"x-authorization", b"Bearer " + TOKEN.encode())],
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
async def test_a_wrong_token_opens_nothing(headers: Headers) -> None:
    it = endpoints(token=TOKEN)
    assert (await get(it, HEALTH_PATH, headers=headers)).json() == {"status": "ok"}
    for method in ("GET", "HEAD"):
        answer = await get(it, METRICS_PATH, headers=headers, method=method)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="vtasks"'
        assert b"vtasks_" not in answer.body


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("sent", ["", "None", TOKEN])
async def test_without_a_token_none_is_right(token: str | None, sent: str) -> None:
    answer = await get(endpoints(token=token), HEALTH_PATH, headers=bearer(sent))
    assert answer.json() == {"status": "ok"}


async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return False

    monkeypatch.setattr(pages, "compare_digest", spy)
    answer = await get(endpoints(token=TOKEN), METRICS_PATH, headers=bearer(TOKEN))
    assert answer.status == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


# -- metrics


class Held:
    """A collector that waits for ``go``, and says when it was reached."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        self.reached.set()
        self.go.wait(5)  # longer than this only if the loop itself waits here
        return [Metric("held", "Shown at last.", "gauge")]


async def test_metrics_are_open_without_a_token_and_guarded_with_one() -> None:
    assert (await get(endpoints(), METRICS_PATH)).status == 200
    answer = await get(endpoints(token=TOKEN), METRICS_PATH, headers=bearer(TOKEN))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        (b"", "text/plain; version=", b"held gauge\n"),
        (b"text/html, */*", "text/plain; version=", b"held gauge\n"),
        (
            b"application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text",
            b"# EOF\n",
        ),
    ],
)
async def test_the_format_is_negotiated(accept: bytes, content_type: str, end: bytes) -> None:
    registry, held = CollectorRegistry(), Held()
    held.go.set()
    registry.register(held)
    answer = await get(endpoints(registry=registry), METRICS_PATH, headers=[(b"accept", accept)])
    assert answer.headers["content-type"].startswith(content_type)
    assert answer.body.endswith(end)


async def test_a_slow_collector_holds_up_nobody_else() -> None:
    registry, held = CollectorRegistry(), Held()
    registry.register(held)
    it = endpoints(registry=registry)
    scrape = asyncio.create_task(get(it, METRICS_PATH))
    try:
        await asyncio.to_thread(held.reached.wait)
        assert (await get(it, HEALTH_PATH)).status == 200
        assert not scrape.done()
    finally:
        held.go.set()
    assert b"held" in (await scrape).body
