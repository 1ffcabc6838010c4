"""`/gateway/v1/openapi.json`: every door as OpenAPI 3.1 describes it, made from the forms that
check what doors are sent and the types that their answers are held to. It opens without a key.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import gateway
from gateway.api.described import ADMIN, JSON, OPEN, SAID, VENICE, Said
from gateway.api.forms import may_be_empty
from gateway.api.respond import json_response
from gateway.api.schemas import Schemas

PROBLEM = "application/problem+json"
CSV = "text/csv"
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457, with the code of the error.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code"],
}
_ERROR_SCHEMA = {
    "type": "object",
    "description": "Reads well in each of Venice's clients.",
    "properties": {
        "error": {},
        "message": {"type": "string"},
        "code": {"type": "string"},
        "source": {"enum": ["gateway", "venice"]},
    },
    "required": ["error", "message", "code", "source"],
}

_TAG = {
    "description": "Names this state of it: what `If-Match` takes.",
    "schema": {"type": "string"},
}
_UNMET = {
    "If-None-Match": (304, "What the client has already is still the same."),
    "If-Match": (412, "It is in another state than the one that If-Match names."),
    "Range": (416, "There are no such bytes."),
}
"""What is answered for a condition that is not met."""

Document = dict[str, Any]


async def openapi(request: Request) -> Response:
    """Describe every door."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = document(request.app.routes)
    return json_response(state.openapi, headers={"cache-control": "max-age=300"})


def document(routes: Iterable[BaseRoute]) -> Document:
    """The description of some routes; of one that is not in the table, that it is there."""
    schemas = Schemas()
    paths: dict[str, Document] = {}
    for route in routes:
        assert isinstance(route, Route), "every door is a plain route"
        for method in sorted((route.methods or set()) - {"HEAD"}):
            said = SAID.get((method, route.path), Said())
            paths.setdefault(route.path, {})[method.lower()] = _operation(
                route, method, said, schemas
            )
    components = {"schemas": schemas.all(), "securitySchemes": _KEYS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "venice-gateway",
            "version": gateway.__version__,
            "description": inspect.cleandoc(_ABOUT),
        },
        "paths": paths,
        "components": components,
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
    }


_ABOUT = """
    Amounts are text with six decimal places of a dollar, times RFC 3339 in UTC. Every answer has an
    X-Request-Id. HEAD works where GET does.
"""
_TAGS = {
    "venice": "Venice's own paths, as its clients expect them.",
    "own": "The gateway's own, for whoever has a user key.",
    "admin": "Administration, with an admin key.",
    "open": "Without a key.",
}
_KEYS = {
    "userKey": {"type": "http", "scheme": "bearer", "description": "A user key, vgw_…"},
    "adminKey": {"type": "http", "scheme": "bearer", "description": "An admin key."},
}


def _operation(route: Route, method: str, said: Said, schemas: Schemas) -> Document:
    """One method of one door."""
    tag = _tag_of(route.path)
    summary = (inspect.getdoc(route.endpoint) or "").partition("\n\n")[0].replace("\n", " ")
    slug = re.sub(r"[^a-z0-9]+", "_", route.path.lower()).strip("_")
    operation: Document = {
        "operationId": f"{method.lower()}_{slug}",
        "tags": [tag],
        "summary": summary,
        "parameters": [*_path_parameters(route), *schemas.parameters(said)],
        "responses": _responses(tag, said, schemas),
        "security": {"open": [], "admin": [{"adminKey": []}]}.get(tag, [{"userKey": []}]),
    }
    if said.body is not None:
        content = {JSON: {"schema": schemas.of_body(said.body)}}
        is_optional = isinstance(said.body, type) and may_be_empty(said.body)
        operation["requestBody"] = {"required": not is_optional, "content": content}
    return operation


def _tag_of(path: str) -> str:
    if path in OPEN:
        return "open"
    if path.startswith(ADMIN):
        return "admin"
    return "venice" if path.startswith(VENICE) else "own"


def _path_parameters(route: Route) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.param_convertors
    ]


def _responses(tag: str, said: Said, schemas: Schemas) -> Document:
    """What may come back: success as it is, everything else in the shape of the doors."""
    found: Document = {}
    for status in said.statuses:
        found[str(status)] = {"description": "Done."}
        if status != 204:
            found[str(status)]["content"] = _content(said, schemas)
        if said.has_tag:
            found[str(status)]["headers"] = {"ETag": _TAG}
    if tag == "venice":
        wrong = {JSON: {"schema": schemas.fixed("Error", _ERROR_SCHEMA)}}
    else:
        wrong = {PROBLEM: {"schema": schemas.fixed("Problem", _PROBLEM_SCHEMA)}}
    found["default"] = {"description": "Refused or failed; `code` says why.", "content": wrong}
    for condition, (status, description) in _UNMET.items():
        if condition in said.conditions:
            found[str(status)] = {"description": description}
            if status != 304:
                found[str(status)]["content"] = wrong
    if tag != "open":
        found["401"] = {"description": "No key, or one that opens nothing here.", "content": wrong}
    return found


def _content(said: Said, schemas: Schemas) -> Document:
    content = {media: {"schema": {"type": "string"}} for media in said.media if media != JSON}
    if JSON in said.media:
        content[JSON] = {"schema": _answer(said, schemas)}
    if said.query is not None and "format" in said.query.model_fields:
        content[CSV] = {"schema": {"type": "string"}}
    return content


def _answer(said: Said, schemas: Schemas) -> Document:
    if said.rows is None:
        return schemas.of_answer(said.answer)
    name, row = said.rows
    rows = {"type": "array", "items": schemas.of_answer(row)}
    following = {
        "type": ["string", "integer", "null"],
        "description": "How to go on, if there is more.",
    }
    return {
        "type": "object",
        "properties": {name: rows, "next": following},
        "required": [name, "next"],
    }
