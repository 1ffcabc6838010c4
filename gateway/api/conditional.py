"""`ETag` and `If-Match` (RFC 9110, section 13): nobody changes what somebody else has changed since
they looked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.respond import json_response
from gateway.core.errors import PreconditionFailed
from gateway.core.json_text import encode


def tagged(shape: Mapping[str, Any], of: Mapping[str, Any] | None = None) -> Response:
    """An answer with the tag of what may be changed: the whole of it, or `of`."""
    return json_response(shape, headers={"etag": tag_of(shape if of is None else of)})


def tag_of(shape: Mapping[str, Any]) -> str:
    """A strong tag that is another one whenever anything in the shape is."""
    return f'"{hashlib.sha256(encode(shape)).hexdigest()[:20]}"'


def require_match(request: Request, shape: Mapping[str, Any]) -> None:
    """`PreconditionFailed` where the request was made for another state of the thing."""
    asked = request.headers.getlist("if-match")
    if not asked:
        return
    tags = [tag.strip() for value in asked for tag in value.split(",")]
    if "*" not in tags and tag_of(shape) not in tags:
        raise PreconditionFailed
