"""`spending`: the switch of all spending. Running jobs and stored videos are never touched."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.reach import administration
from gateway.cli.show import AsJson, as_record, as_value

app = typer.Typer(no_args_is_help=True, help="Whether anything may be bought at all.")

Why = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the audit.")]


@app.command()
def show(as_json: AsJson = False) -> None:
    """Say whether spending is stopped, and why."""
    with administration() as doors:
        _shown(doors.get("spending"), as_json)


@app.command()
def stop(why: Why, as_json: AsJson = False) -> None:
    """Take no new orders until `spending resume`, restarts included."""
    with administration() as doors:
        _shown(doors.post("spending", body={"stopped": True, "why": why}), as_json)


@app.command()
def resume(why: Why, as_json: AsJson = False) -> None:
    """Take orders again, whatever had stopped them."""
    with administration() as doors:
        _shown(doors.post("spending", body={"stopped": False, "why": why}), as_json)


def _shown(state: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(state)
    else:
        as_record(state)
