"""The metrics and health pages as status, headers and body, for whatever serves them.

Nothing here asks a store: health is a snapshot of this process, metrics are numbers in memory.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import orjson

from vtasks_asgi.runtime.health import Health

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

METRICS_PATH = "/metrics"
HEALTH_PATH = "/vtasks/health"
METHODS = ("GET", "HEAD")

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Request:
    """What a page needs to know. ``authorization`` holds every such header, as sent."""

    path: str
    method: str = "GET"
    authorization: Sequence[bytes] = ()
    accept: str = ""


@dataclass(slots=True)
class Reply:
    """What to send; for HEAD the sender leaves the body out and keeps its length."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Every header, the length and those all pages share included."""
        return {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **self.headers,
        }


class Pages:
    """The pages by exact path: metrics, and health with ``/live`` and ``/ready`` below it.

    Args:
        health: returns the present ``Health``; cheap, and callable from any thread.
        metrics_path: where the metrics are; None or empty for nowhere.
        health_path: where the three health pages begin; None or empty for nowhere.
        token: when set, metrics require ``Authorization: Bearer <token>``, and health shows
            details to whoever sends it. Empty counts as not set.
        debug: show health details to everybody.
        registry: the ``CollectorRegistry`` to show; default ``prometheus_client.REGISTRY``.

    Raises:
        ValueError: a path or the token is malformed, or two pages share a path.
    """

    def __init__(
        self,
        health: Callable[[], Health],
        *,
        metrics_path: str | None = METRICS_PATH,
        health_path: str | None = HEALTH_PATH,
        token: str | None = None,
        debug: bool = False,
        registry: "CollectorRegistry | None" = None,
    ) -> None:
        self._health = health
        self._token = _checked_token(token)
        self._debug = debug
        self._registry = registry
        self.metrics_path = _checked_path(metrics_path, "VTASKS_METRICS_PATH")
        self._by_path: dict[str, Callable[[Request], Reply]] = {}
        if base := _checked_path(health_path, "VTASKS_HEALTH_PATH"):
            self._by_path |= {
                base: self._overview,
                f"{base}/live": _live,
                f"{base}/ready": self._ready,
            }
        if self.metrics_path is not None:
            if self.metrics_path in self._by_path:
                raise ValueError(
                    f"VTASKS_METRICS_PATH {self.metrics_path!r} is also a health page;"
                    " choose another path"
                )
            self._by_path[self.metrics_path] = self._metrics

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that have a page."""
        return tuple(self._by_path)

    @property
    def guarded(self) -> bool:
        """Whether a token is configured."""
        return self._token is not None

    def refusal(self, request: Request) -> Reply | None:
        """The reply when the request may not see its page, None when it may. Always cheap."""
        if request.method not in METHODS:
            return Reply(405, b"Method Not Allowed\n", headers={"allow": ", ".join(METHODS)})
        if self.guarded and request.path == self.metrics_path and not self._trusted(request):
            return Reply(
                401, b"Unauthorized\n", headers={"www-authenticate": 'Bearer realm="vtasks"'}
            )
        return None

    def page(self, request: Request) -> Reply:
        """The page of a request that was not refused. Metrics take milliseconds: use a thread."""
        return self._by_path[request.path](request)

    def _metrics(self, request: Request) -> Reply:
        from prometheus_client import REGISTRY  # noqa: PLC0415
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

        encode, content_type = choose_encoder(request.accept)
        return Reply(200, encode(self._registry or REGISTRY), content_type)

    def _ready(self, request: Request) -> Reply:
        health = self._health()
        return _json(200 if health.ready else 503, {"status": health.status})

    def _overview(self, request: Request) -> Reply:
        health = self._health()
        content: dict[str, Any] = {"status": health.status}
        if self._debug or self._trusted(request):
            content |= _details(health)
        return _json(200 if health.ready else 503, content)

    def _trusted(self, request: Request) -> bool:
        if self._token is None or len(request.authorization) != 1:
            return False
        scheme, _, credentials = request.authorization[0].partition(b" ")
        return scheme.lower() == b"bearer" and compare_digest(credentials.strip(), self._token)


def _live(request: Request) -> Reply:
    return _json(200, {"status": "alive"})


def _details(health: Health) -> dict[str, Any]:
    # The worker's id stays out: it often is a host name.
    return {
        "problems": health.problems,
        "queues": {
            name: {
                "idle_for": _rounded(queue.idle_for),
                "running": queue.running,
                "oldest_ready": _rounded(queue.oldest_ready),
                "paused": queue.paused,
            }
            for name, queue in health.queues.items()
        },
        "ticks": {name: _rounded(value) for name, value in health.ticks.items()},
        "loop_lag": _rounded(health.loop_lag),
        "uptime": _rounded(health.uptime),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _json(status: int, content: dict[str, Any]) -> Reply:
    return Reply(status, orjson.dumps(content), _JSON)


def _checked_path(path: str | None, setting: str) -> str | None:
    if not path:
        return None
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"{setting} is {path!r}; it must start with a slash, not end with one, and have only"
            " letters, digits and . _ ~ - between slashes, such as '/vtasks/health'"
            " (empty turns the page off)"
        )
    return path


def _checked_token(token: str | None) -> bytes | None:
    if not token:
        return None
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "VTASKS_HEALTH_TOKEN has spaces or characters outside printable ASCII, which cannot"
            " be sent in a header; generate one with: python -c"
            " 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token.encode("ascii")
