"""`ledger`: the proof that every balance follows from the entries, and the entries themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from gateway.cli.reach import Doors, administration
from gateway.cli.show import AsJson, as_record, as_value, note

app = typer.Typer(no_args_is_help=True, help="The entries, and their proof.")


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Re-derive every balance from the entries and compare; exit 1 where anything differs."""
    with administration() as doors:
        found = doors.get("ledger", "verification")
    for problem in found["problems"]:
        note(f"error: {problem}")
    proof = {name: found[name] for name in ("ok", "entries", "drift_usd")}
    if as_json:
        as_value(proof)
    else:
        as_record(proof)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def export(as_json: AsJson = False) -> None:
    """Print every entry, oldest first: one JSON object a line, or with --json one array."""
    with administration() as doors:
        if not as_json:
            for entry in _entries(doors):
                as_value(entry)
            return
        between = "["
        for entry in _entries(doors):
            print(between + json.dumps(entry, ensure_ascii=False), end="")
            between = ",\n"
        print("]" if between != "[" else "[]")


def _entries(doors: Doors) -> Iterator[dict[str, Any]]:
    """A page at a time, so that a ledger of any size passes through."""
    after: int | None = 0
    while after is not None:
        page = doors.get("ledger", "entries", after=after)
        yield from page["entries"]
        after = page["next"]
