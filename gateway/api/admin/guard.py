"""Stands before everything under `/gateway/v1/admin`: without an admin key every path and method
there, known or not, is 401, and a viewer changes nothing. No door behind it can forget to ask.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.administer import Office
from gateway.api.authenticate import bearer
from gateway.core.errors import Forbidden, NotAuthenticated
from gateway.keyring import AdminKeys
from gateway.logs import note_administrator
from gateway.visitors import Visitors

PREFIX = "/gateway/v1/admin"
READING = frozenset({"GET", "HEAD"})


class AdminGuard:
    """Lets requests pass to the doors of administration with an admin key only."""

    def __init__(self, app: ASGIApp, admin_keys: AdminKeys, visitors: Visitors) -> None:
        self._app = app
        self._admin_keys = admin_keys
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_admin(scope["path"]):
            self._visitors.refuse_guessing(scope["client_address"])
            administrator = self._admin_keys.administrator(bearer(Request(scope)))
            if administrator is None:
                raise NotAuthenticated("This door opens with an admin key of this gateway only.")
            if not administrator.may_change and scope["method"] not in READING:
                raise Forbidden(
                    f"The admin key {administrator.name} may read, but not change anything. Ask "
                    "an administrator whose key has the role admin."
                )
            scope["administrator"] = administrator.name
            note_administrator(administrator.name)
        await self._app(scope, receive, send)


def is_admin(path: str) -> bool:
    """Whether a path belongs to administration."""
    return path == PREFIX or path.startswith(PREFIX + "/")


def office_of(request: Request) -> Office:
    """The desk of the application that a request came to."""
    office: Office = request.app.state.office
    return office


def actor_of(request: Request) -> str:
    """Who acts; the guard has seen their key."""
    actor: str = request.scope["administrator"]
    return actor
