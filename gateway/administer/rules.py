"""The rules as administration reads and reloads them. The files themselves are people's to edit."""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.core.errors import Conflict
from gateway.policies import BadPolicy, LoadedRules


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
    sources = {
        path[2:]: place
        for path, place in office.rules().sources.items()
        if path[:2] == ("policies", policy) and all(isinstance(part, str) for part in path)
    }
    sections = {path[:-1] for path in sources}
    return {
        ".".join(map(str, path)): f"{place.file}:{place.line}"
        for path, place in sources.items()
        if path not in sections
    }
