"""`GET /models`: Venice's list of video models, as last read."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.respond import json_response
from gateway.api.services import services_of

VIDEO_TYPES = (None, "video", "all")
"""Values of `type` for which the list has models: this gateway carries video only."""


async def models(request: Request) -> Response:
    """Answer with the models there are; none for kinds this gateway does not carry."""
    services = services_of(request)
    caller_of(request)
    wanted = request.query_params.get("type")
    if wanted in VIDEO_TYPES:
        return json_response(services.shelf.current.document)
    return json_response({"data": [], "object": "list", "type": wanted})
