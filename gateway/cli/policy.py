"""`policy`: the rules, checked before they are saved and shown as they apply to somebody."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.reach import Refused, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

if TYPE_CHECKING:
    from gateway.policies import Membership

app = typer.Typer(no_args_is_help=True, help="The rules in the policy files.")

_WINDOWS = (
    "scope",
    "name",
    "window",
    "models",
    "limit_usd",
    "spent_usd",
    "reserved_usd",
    "in_doubt_usd",
    "used_percent",
)


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="A folder, or a file as if it were all; VGW_POLICIES without it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check policy files before they are in force; exit 1 where they would be refused."""
    from gateway.policies import BadPolicy, load_alone, load_rules
    from gateway.settings import load_settings

    settings = load_settings(os.environ, simulator=True, serves=False)
    folder = path or settings.policies
    if folder.is_file() and folder.resolve().parent == settings.policies.resolve():
        # One of those in force is nothing without the others.
        folder = settings.policies
    is_known = settings.url is not None or settings.database_path.exists()
    try:
        if folder.is_file():
            loaded = load_alone(folder)
        else:
            loaded = load_rules(folder, users=_users() if is_known else None)
    except BadPolicy as error:
        for problem in error.problems:
            note(f"error: {problem}")
        if as_json:
            problems = [
                {"file": p.file, "line": p.line, "reason": p.reason} for p in error.problems
            ]
            as_value({"ok": False, "version": None, "problems": problems, "warnings": []})
        raise typer.Exit(1) from error
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    if as_json:
        warnings = list(loaded.warnings)
        as_value({"ok": True, "version": loaded.version, "problems": [], "warnings": warnings})
    else:
        print(f"{folder} can be used (version {loaded.version}).")


def _users() -> dict[Membership, int] | None:
    """How many users there are of each team and policy; None, said aloud, where nobody is asked."""
    try:
        with administration() as doors:
            active = (user for user in doors.every("users") if user["disabled_at"] is None)
            return dict(Counter((user["team"], user["policy"]) for user in active))
    except Refused as error:
        note(f"warning: users are not compared with their pools: {error}")
        return None


@app.command()
def show(user: Annotated[str, typer.Argument(metavar="USER")], as_json: AsJson = False) -> None:
    """Show the rules that apply to a user, where each is written, and how their windows stand."""
    with administration() as doors:
        found = doors.get("users", user, "policy")
    if as_json:
        as_value(found)
        return
    as_record({field: found[field] for field in ("user", "team", "policy")})
    rules = [
        {"rule": rule, "value": _inside(found["rules"], rule), "written_in": place}
        for rule, place in found["written_in"].items()
    ]
    rules += [
        {"rule": rule, "value": _inside(found["shared_rules"], rule), "written_in": place}
        for rule, place in found["shared_written_in"].items()
    ]
    as_table(rules, ("rule", "value", "written_in"))
    as_table(found["windows"], _WINDOWS)


def _inside(rules: Any, path: str) -> Any:
    """The value at a dotted path; a pattern in it may itself have dots."""
    if not path or not isinstance(rules, dict):
        return rules
    for name, value in rules.items():
        if path == name or path.startswith(f"{name}."):
            return _inside(value, path[len(name) + 1 :])
    return None


@app.command()
def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of policy files, for editors."""
    from gateway.policies import rules_schema

    if as_json:
        as_value(rules_schema())
    else:
        print(json.dumps(rules_schema(), indent=2))


@app.command()
def reload(as_json: AsJson = False) -> None:
    """Have a running gateway read its policy files now."""
    with administration() as doors:
        summary = doors.post("policies", "reload", body={})
    for warning in summary["warnings"]:
        note(f"warning: {warning}")
    if as_json:
        as_value(summary)
    else:
        as_record(summary)
