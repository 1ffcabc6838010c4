"""`reconcile`: compare the ledger with Venice's bill, now."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from gateway.cli.reach import WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

KINDS = ("different", "ours_only", "theirs_only", "resolved", "waiting")
_COLUMNS = (
    "finding", "job", "queue_id", "request_id", "user", "model", "at", "ours_usd", "billed_usd",
    "act", "reason",
)  # fmt: skip
_SHOWN = ("finding", "job", "user", "model", "at", "ours_usd", "billed_usd", "act")


def reconcile(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="From when; without it from a week before the last whole run."
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the findings as comma-separated values.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare with Venice's bill, end the doubts it resolves, and put right what it proves."""
    if as_csv and as_json:
        raise WrongUsage("Give either --csv or --json.")
    with administration(asks_venice=True) as doors:
        if sys.stderr.isatty():
            note("Reading Venice's bill …")
        run = doors.post("reconciliations", body={"since": since})
    rows = [{"finding": kind, **found} for kind in KINDS for found in run[kind]]
    if as_json:
        as_value(run)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        as_record({name: value for name, value in run.items() if name not in KINDS})
        if rows:
            as_table(rows, _SHOWN)
    if run["left_off"] and not as_json:
        note(f"warning: {run['left_off']} more are counted and not listed.")
