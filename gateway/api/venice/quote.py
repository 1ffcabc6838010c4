"""`POST /video/quote`: Venice's price, from a fresh answer where there is one."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.reading import read_object
from gateway.api.services import services_of
from gateway.core.validation import check_quote_body


async def quote(request: Request) -> Response:
    """Answer with what Venice says the job will cost."""
    services = services_of(request)
    caller = caller_of(request)
    body = check_quote_body(await read_object(request), services.shelf.current)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    deadline = services.clock.monotonic() + services.rulebook.venice.hold / 1000
    quoted = await services.quotes.quote(body, canonical, caller.user.name, deadline)
    status = "hit" if quoted.is_cached else "fwd=miss"
    headers = {"cache-status": f"venice-gateway; {status}"}
    return Response(quoted.body, headers=headers, media_type="application/json")
