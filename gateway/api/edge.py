"""What stands around every door: one spelling of each path, a request id, an answer to every error,
counts and an access line.

Pure ASGI, so that streams and disconnects pass through untouched.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.respond import respond
from gateway.core import errors
from gateway.core.errors import GatewayError
from gateway.logs import begin_request
from gateway.metrics import Metrics
from gateway.orders import ClientGone
from gateway.ports import LedgerFailure, LedgerFull, StoreFailure
from gateway.visitors import Visitors

VENICE_PREFIX = "/api/v1"
HEADERS_BYTES_MAX = 64 * 1024
"""The longest honest header is a key of 53 characters; uvicorn itself sets no limit."""
CLIENT_GONE_STATUS = 499
"""In counts and logs only: nobody is there to read a status."""
_FORWARDING = frozenset({b"forwarded", b"x-forwarded-for"})
_SLASHES = re.compile("/{2,}")

_log = structlog.get_logger("gateway.access")


AccessLog = Literal["all", "quiet", "off"]


class Edge:
    """The outermost application."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        doors: Mapping[Any, str],
        visitors: Visitors,
        *,
        access_log: AccessLog,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._doors = doors
        self._visitors = visitors
        self._access_log = access_log
        # Request ids name, they do not protect: chance once, and then a number.
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._counted: dict[tuple[str, int], Any] = {}
        self._timed: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = f"{self._run}{next(self._numbers):08x}"
        seen = _Seen(send, request_id)
        begin_request(request_id)
        scope["path"] = _one_spelling(scope)
        scope["request_id"] = request_id
        scope["client_address"] = self._address(scope)
        try:
            _check_headers(scope)
            await self._app(scope, receive, seen)
        except ClientGone:
            pass
        except Exception as error:
            if seen.status:
                # The answer has begun; cutting it off is the only honest end.
                raise
            answer = respond(self._told(error, scope), to_venice_client=is_venice(scope["path"]))
            await answer(scope, receive, seen)
        finally:
            status = seen.status or CLIENT_GONE_STATUS
            self._count(scope, status, time.perf_counter() - started, request_id)

    def _address(self, scope: Scope) -> str:
        """Who sent it, as far as that can be trusted."""
        peer = scope.get("client")
        named: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _FORWARDING:
                named.setdefault(name, []).append(value.decode("latin-1"))
        return self._visitors.address(
            peer[0] if peer else None,
            named.get(b"forwarded", ()),
            named.get(b"x-forwarded-for", ()),
        )

    def _told(self, error: Exception, scope: Scope) -> GatewayError:
        """The error as a client may see it."""
        match error:
            case errors.NotAuthenticated():
                try:
                    self._visitors.note_failure(scope["client_address"])
                except errors.RateLimited as too_many:
                    return too_many
                return error
            case GatewayError():
                return error
            case HTTPException(status_code=404):
                return errors.NotGoverned() if is_venice(scope["path"]) else _NO_DOOR
            case HTTPException(status_code=405, headers=headers):
                allowed = (headers or {}).get("Allow", "")
                return errors.MethodNotAllowed([m.strip() for m in allowed.split(",") if m])
            case LedgerFull():
                return errors.StorageFull()
            case LedgerFailure():
                _log.error("ledger.out_of_reach", request=scope["request_id"], why=str(error))
                return errors.SpendingStopped(
                    "The gateway's ledger cannot be read or written at the moment, and without it "
                    "nothing is bought or changed. Try again in a minute, and tell an "
                    "administrator if that does not help."
                )
            case StoreFailure():
                _log.error("store.out_of_reach", request=scope["request_id"], why=str(error))
                return errors.StorageFull(
                    "The gateway's disk fails or is full, so its videos cannot be read right now; "
                    "they are not lost. Try again in a moment. Tell an administrator."
                )
            case _:
                structlog.get_logger(__name__).error(
                    "request.failed", request=scope["request_id"], exc_info=error
                )
                return errors.InternalFault()

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        door = self._doors.get(scope.get("endpoint"), "other")
        counted = self._counted.get((door, status))
        if counted is None:
            labels = self._metrics.requests.labels(door, str(status))
            counted = self._counted[door, status] = labels
            self._timed.setdefault(door, self._metrics.request_seconds.labels(door))
        counted.inc()
        self._timed[door].observe(seconds)
        # A line for each poll, or for each refused one, is a flood: metrics tell of them.
        is_flood = door == "retrieve" and status < 500
        if self._access_log == "all" or (self._access_log == "quiet" and not is_flood):
            _log.info(
                "request",
                door=door,
                method=scope["method"],
                status=status,
                ms=round(seconds * 1000, 1),
                client=scope["client_address"],
                request=request_id,
            )


_NO_DOOR = errors.NotFound(
    "There is no such door. Venice's endpoints are under /api/v1, the gateway's own under "
    "/gateway/v1."
)


class _Seen:
    """A `send` that notes the status and adds the request id."""

    __slots__ = ("_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = (b"x-request-id", request_id.encode())
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._id]
        await self._send(message)


def is_venice(path: str) -> bool:
    """Whether a path is one of the doors that Venice's clients use."""
    return path == VENICE_PREFIX or path.startswith(VENICE_PREFIX + "/")


def _one_spelling(scope: Scope) -> str:
    """Venice paths with doubled and trailing slashes taken out, as careless clients send them.

    An escaped path is none of ours: each door has one spelling that needs no escape.
    """
    path: str = scope["path"]
    if "//" not in path and path[-1:] != "/" and b"%" not in scope.get("raw_path", b""):
        return path
    if not _SLASHES.sub("/", path).startswith(VENICE_PREFIX):
        return path
    if b"%" in scope.get("raw_path", b""):
        return VENICE_PREFIX + "/-"
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _check_headers(scope: Scope) -> None:
    """Refuse what two readers could understand in two ways, and what nobody needs to read."""
    size = hosts = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        hosts += name == b"host"
    if size > HEADERS_BYTES_MAX:
        raise errors.HeadersTooLarge
    if hosts != 1:
        raise errors.InvalidRequest([errors.Issue(("host",), "Send exactly one Host header.")])
