"""The rules in `policies/` as a checked rulebook, or every reason why they cannot be one.

`policies` and `teams` may be spread over files as long as each name is there once; any other
section belongs to one file. Nothing is changed or watched here: reloading is the caller's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.core.policy import Rulebook
from gateway.core.policy_advice import Membership, overcommitted, too_small
from gateway.policy_files import (
    BadPolicy,
    Document,
    Path_,
    Place,
    Problem,
    Value,
    read_alone,
    read_folder,
)

__all__ = [
    "BadPolicy",
    "LoadedRules",
    "Membership",
    "Place",
    "Problem",
    "load_alone",
    "load_rules",
    "rules_schema",
]

Sections = dict[str, Any]
EXTENDS_MAX = 20
"""Policies in a row: nobody could say what the last of a longer one allows."""


@dataclass(frozen=True)
class LoadedRules:
    """A rulebook, and what is to be known of where it came from."""

    rulebook: Rulebook
    version: str
    """Twelve hexadecimal digits that change with any content."""
    warnings: tuple[str, ...]
    sources: Mapping[Path_, Place]
    """Where each value was written, inherited ones under both names."""


def load_rules(folder: Path, *, users: Mapping[Membership, int] | None = None) -> LoadedRules:
    """The rules of a folder; `BadPolicy` with every file, line and reason.

    `users` counts people by team and policy of their own; it lets the warnings compare what they
    may spend with the pools they share.
    """
    return _loaded(read_folder(folder), folder, users or {})


def load_alone(file: Path) -> LoadedRules:
    """The rules of one file that is not in force, as if it were all; else `BadPolicy`."""
    return _loaded(read_alone(file), file, {})


def _loaded(document: Document, folder: Path, users: Mapping[Membership, int]) -> LoadedRules:
    sections = _inherited(document)
    try:
        rulebook = Rulebook.model_validate(sections)
    except ValidationError as error:
        raise BadPolicy(_explained(error.errors(), document, folder)) from None
    unknown = [
        _problem(document, ("teams", name, "policy"), folder, f"there is no policy {team.policy}")
        for name, team in rulebook.teams.items()
        if team.policy not in rulebook.policies
    ]
    for number, notice in enumerate(rulebook.notify):
        for place, name in enumerate(() if notice.teams == "any" else notice.teams):
            if name not in rulebook.teams:
                path = ("notify", number, "teams", place)
                unknown.append(_problem(document, path, folder, f"there is no team {name}"))
    if "default" not in rulebook.policies:
        reason = "the policy `default` is missing: users without another one need it"
        unknown.append(_problem(document, ("policies",), folder, reason))
    if unknown:
        raise BadPolicy(unknown)
    warnings = [f"{name} is not read: policies end in .yaml" for name in document.unread]
    warnings += too_small(rulebook)
    warnings += overcommitted(rulebook, users)
    return LoadedRules(rulebook, document.version, tuple(warnings), document.places)


def rules_schema() -> dict[str, Any]:
    """The JSON Schema of a policy document, for editors."""
    schema = Rulebook.model_json_schema()
    extends = {"type": "string", "description": "The policy whose rules are taken over."}
    schema["$defs"]["Policy"]["properties"]["extends"] = extends
    # A continued file has neither `version` nor `policies`: they are of the whole folder.
    schema.pop("required")
    _without_inside(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _without_inside(schema: Any) -> None:
    """Drop what speaks of the values inside rather than of the text that is written: titles that
    repeat a name, and defaults that an editor would offer as milliseconds and bytes."""
    if isinstance(schema, list):
        for each in schema:
            _without_inside(each)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if not isinstance(schema.get("default", ""), str):
        del schema["default"]
    for each in list(schema.values()):
        _without_inside(each)


def _inherited(document: Document) -> Sections:
    """The document with each policy joined to those it extends, and without its nulls."""
    sections = {name: _without_nulls(value) for name, value in document.sections.items()}
    policies = document.sections.get("policies")
    if isinstance(policies, dict):
        whole: dict[str, Any] = {}
        for name in policies:
            _join(name, policies, whole, document, ())
        sections["policies"] = whole
    if isinstance(teams := document.sections.get("teams"), dict):
        # A team with nothing to say still exists by being named.
        sections["teams"] = {name: _without_nulls(team) or {} for name, team in teams.items()}
    return {name: value for name, value in sections.items() if value is not None}


def _join(
    name: str,
    policies: Mapping[str, Value],
    whole: dict[str, Any],
    document: Document,
    below: tuple[str, ...],
) -> Any:
    """One policy with what it inherits, kept in `whole`."""
    if name in whole:
        return whole[name]
    own = policies[name] if policies[name] is not None else {}
    parent = own.get("extends") if isinstance(own, dict) else None
    if not isinstance(own, dict) or parent is None:
        whole[name] = _without_nulls(own)
    else:
        place = document.places["policies", name, "extends"]
        if not isinstance(parent, str) or parent not in policies:
            reason = f"policies.{name} extends {parent!r}, which is no policy here"
            raise BadPolicy([Problem(place.file, place.line, reason)])
        if parent in (*below, name):
            circle = " extends ".join((*below, name, parent))
            raise BadPolicy([Problem(place.file, place.line, f"a circle: {circle}")])
        if len(below) >= EXTENDS_MAX:
            reason = f"more than {EXTENDS_MAX} policies extend each other"
            raise BadPolicy([Problem(place.file, place.line, reason)])
        inherited = _join(parent, policies, whole, document, (*below, name))
        whole[name] = _merged(inherited, own)
        _inherit_places(document, parent, name)
    if isinstance(whole[name], dict):
        whole[name].pop("extends", None)
    return whole[name]


def _inherit_places(document: Document, parent: str, child: str) -> None:
    prefix = ("policies", parent)
    for path, place in list(document.places.items()):
        if path[:2] == prefix:
            document.places.setdefault(("policies", child, *path[2:]), place)


def _merged(parent: Any, child: Value) -> Any:
    """Maps join key by key, everything else replaces, null removes."""
    if not isinstance(child, dict):
        return _without_nulls(child)
    joined = dict(parent) if isinstance(parent, dict) else {}
    for name, value in child.items():
        if value is None:
            joined.pop(name, None)
        else:
            joined[name] = _merged(joined.get(name), value)
    return joined


def _without_nulls(value: Value) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def _explained(errors: Iterable[ErrorDetails], document: Document, folder: Path) -> list[Problem]:
    """What pydantic found, one problem for each place, in the words of the files."""
    placed = [(_written(document, error["loc"]), error) for error in errors]
    paths = {path for path, _ in placed}
    problems: dict[tuple[Place | None, str | int, str], Problem] = {}
    for path, group in groupby(placed, key=lambda pair: pair[0]):
        found = [error for _, error in group]
        if all(map(_follows, found)) and any(p != path and p[: len(path)] == path for p in paths):
            # It has one of the forms it may have; what is wrong is inside of it.
            continue
        reasons = _reasons(found)
        # An inherited mistake is told once, under the policy that made it.
        same = (document.places.get(path), path[-1] if path else "", reasons)
        problems.setdefault(same, _problem(document, path, folder, reasons))
    return list(problems.values())


def _written(document: Document, loc: tuple[str | int, ...]) -> Path_:
    """A pydantic location as a path in the files: without its remarks on keys and union members."""
    path: Path_ = ()
    for part in loc:
        if (*path, part) in document.places:
            path = (*path, part)
    return path


def _problem(document: Document, path: Path_, folder: Path, reason: str) -> Problem:
    place = document.places.get(path) if path else None
    if place is None:
        return Problem(str(folder), None, reason)
    return Problem(place.file, place.line, f"{'.'.join(map(str, path))}: {reason}")


def _reasons(errors: list[ErrorDetails]) -> str:
    """Several errors at one place: most often a value that fits none of several forms."""
    forms = [form for error in errors if (form := _form(error))]
    others = dict.fromkeys(_reason(error) for error in errors if not _form(error))
    if forms:
        others[f"it {'may also' if others else 'must'} be {' or '.join(forms)}"] = None
    return "; ".join(others)


def _follows(error: ErrorDetails) -> bool:
    """Whether an error says nothing new where something inside of the value is wrong."""
    return _form(error) is not None or error["type"] == "too_short"


def _form(error: ErrorDetails) -> str | None:
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return "a list like [a, b]" if error["type"] == "tuple_type" else None


def _reason(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(error["loc"][-1]), _field_names(), n=1)
            return "there is no such field" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return f"{error['loc'][-1]} is missing"
        case "too_short":
            return f"it must have at least {error['ctx']['min_length']} item"
        case "model_type" | "dict_type":
            return "it must hold names with values"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            return message.replace("Input should be", "it must be")


@cache
def _field_names() -> list[str]:
    """Every name that a rule may have."""
    schema = rules_schema()
    names = set(schema["properties"])
    for definition in schema["$defs"].values():
        names |= set(definition.get("properties", ()))
    return sorted(names)
