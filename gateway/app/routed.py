"""The way into a table of routes, without the layers that Starlette would put before it.

A path without parameters is found by name: polls come by the thousand, and going through all
patterns would cost each of them more than its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class WithApp:
    """Routes requests straight to their door, with `app` in the scope as endpoints expect it."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._by_name = _without_parameters(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        endpoint = self._by_name.get((scope.get("method"), scope.get("path")))
        if endpoint is None:
            await self._app.router(scope, receive, send)
            return
        scope["endpoint"] = endpoint
        scope["path_params"] = {}
        answer = await endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)


def _without_parameters(app: Starlette) -> dict[tuple[str | None, str | None], Endpoint]:
    """The doors whose path is one text, by method and path; the first one counts, as it does where
    patterns are tried in order."""
    found: dict[tuple[str | None, str | None], Endpoint] = {}
    for route in app.router.routes:
        if not isinstance(route, Route) or "{" in route.path:
            continue
        if iscoroutinefunction(route.endpoint):
            for method in route.methods or ():
                found.setdefault((method, route.path), route.endpoint)
    return found
