"""`ledger`: the proof that every balance follows from the entries, and the entries themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import typer

from gateway.cli.progress import Tell, working
from gateway.cli.reach import Doors, WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_value, note
from gateway.core.job import Entry

PROOF = ("ok", "entries", "drift_usd")

app = typer.Typer(no_args_is_help=True, help="The entries, and their proof.")


@app.command()
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put balances that differ right; needs --why.")
    ] = False,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept in the audit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Re-derive every balance from the entries and compare; exit 1 where anything differs."""
    if repair != (why is not None):
        raise WrongUsage("--repair and --why go together.")
    with administration() as doors, working("Deriving every balance anew"):
        if repair:
            found = doors.post("ledger", "repair", body={"why": why})
        else:
            found = doors.get("ledger", "verification")
    for problem in found["problems"]:
        note(f"error: {problem}")
    proof = {name: found[name] for name in (*PROOF, *(("repaired",) if repair else ()))}
    if as_json:
        as_value(proof)
    else:
        as_record(proof)
    if not found["ok"]:
        raise typer.Exit(1)
    if repair:
        note("Nothing is bought until you let it: venice-gateway spending resume --why TEXT")


@app.command()
def export(
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="Only about this job, by either of its ids.")
    ] = None,
    kind: Annotated[Entry | None, typer.Option(help="Only of this kind.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every entry, oldest first: one JSON object a line, or with --json one array."""
    with administration() as doors, _shown_if_apart() as tell:
        entries = _entries(doors, tell, job=job, kind=kind)
        if not as_json:
            for entry in entries:
                as_value(entry)
            return
        between = "["
        for entry in entries:
            print(between + json.dumps(entry, ensure_ascii=False), end="")
            between = ",\n"
        print("]" if between != "[" else "[]")


def _shown_if_apart() -> AbstractContextManager[Tell]:
    """Progress, but not on the very terminal that the entries are printed on."""
    if sys.stdout.isatty():
        return nullcontext(lambda _: None)
    return working("Reading the entries")


def _entries(doors: Doors, tell: Tell, **which: Any) -> Iterator[dict[str, Any]]:
    """A page at a time, so that a ledger of any size passes through."""
    after: int | None = 0
    done = 0
    while after is not None:
        page = doors.get("ledger", "entries", after=after, **which)
        yield from page["entries"]
        done += len(page["entries"])
        tell(f"{done:,}")
        after = page["next"]
