"""`/livez`, `/readyz` and `/metrics`, for machines that watch; none of them asks Venice."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.api.services import services_of


async def livez(request: Request) -> Response:
    """The process answers."""
    del request
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Whether requests are served; with `?verbose` how each part stands."""
    health = services_of(request).health
    problems = health.problems()
    status = 503 if problems else 200
    lines = [f"{part}: {how}" for part, how in problems.items()] or ["ok"]
    if "verbose" in request.query_params:
        parts = {**health.details(), **problems}
        lines = [f"{'!' if p in problems else '+'} {p}: {how}" for p, how in parts.items()]
        lines.append("not ready" if problems else "ready")
    return PlainTextResponse("\n".join(lines) + "\n", status)


async def metrics(request: Request) -> Response:
    """Every metric, money read from the ledger at this moment."""
    content = await services_of(request).gauges.text()
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})
