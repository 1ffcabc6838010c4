"""The way into a table of routes, without the layers that Starlette would put before it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send


class WithApp:
    """Routes requests straight to the router, with `app` in the scope as endpoints expect it."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        await self._app.router(scope, receive, send)
