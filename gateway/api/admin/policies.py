"""`/gateway/v1/admin/policies`: which rules are in force, and reading the files again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import rules
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.respond import json_response
from gateway.api.shapes import Shape
from gateway.policies import LoadedRules


async def policies(request: Request) -> Response:
    """The rules in force."""
    loaded = office_of(request).rules()
    return json_response({**_summary(loaded), "rules": loaded.rulebook.model_dump(mode="json")})


async def reload(request: Request) -> Response:
    """Put the files' rules in force now."""
    return json_response(_summary(await rules.reload(office_of(request), actor_of(request))))


def _summary(loaded: LoadedRules) -> Shape:
    return {
        "version": loaded.version,
        "policies": sorted(loaded.rulebook.policies),
        "teams": sorted(loaded.rulebook.teams),
        "warnings": list(loaded.warnings),
    }
