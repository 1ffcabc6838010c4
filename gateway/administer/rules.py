"""The rules as administration reads and reloads them. The files themselves are people's to edit."""

from __future__ import annotations

from typing import Any

from gateway.administer.office import Office
from gateway.core.errors import Conflict
from gateway.policies import BadPolicy, LoadedRules
from gateway.policy_files import Path_


async def reload(office: Office, actor: str) -> LoadedRules:
    """Read the files again; `Conflict` with every reason leaves the old rules standing."""
    try:
        loaded = office.reload_rules()
    except BadPolicy as error:
        raise Conflict(f"The new policies are refused, the old ones stand: {error}") from error
    await office.audit(actor, "policy.reload", loaded.version, {"warnings": loaded.warnings})
    return loaded


def written_in(office: Office, policy: str) -> dict[str, str]:
    """Where each value of a policy was written, as `file:line`, inherited ones too."""
    return _places(office, ("policies", policy), named_from=2)


def shared(office: Office, team: str | None) -> dict[str, Any]:
    """The team's rules and the organization's, by the sections they stand in."""
    rulebook = office.rulebook
    of_team = rulebook.teams.get(team) if team is not None else None
    found: dict[str, Any] = {"organization": rulebook.organization.model_dump(mode="json")}
    return {"teams": {team: of_team.model_dump(mode="json")}, **found} if of_team else found


def shared_written_in(office: Office, team: str | None) -> dict[str, str]:
    """Where the team's rules and the organization's were written, as `file:line`."""
    found = {} if team is None else _places(office, ("teams", team), named_from=0)
    return found | _places(office, ("organization",), named_from=0)


def _places(office: Office, inside: Path_, *, named_from: int) -> dict[str, str]:
    """Where each value inside a section is, named by its path without the first parts."""
    sources = {
        path: place
        for path, place in office.rules().sources.items()
        if path[: len(inside)] == inside and all(isinstance(part, str) for part in path)
    }
    sections = {path[:-1] for path in sources}
    return {
        ".".join(map(str, path[named_from:])): f"{place.file}:{place.line}"
        for path, place in sources.items()
        if path not in sections
    }
