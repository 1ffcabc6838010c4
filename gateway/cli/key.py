"""`key`: what clients send. A key is shown once, when it is made, and never again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from gateway.cli.filters import Revoked, User
from gateway.cli.reach import WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

app = typer.Typer(no_args_is_help=True, help="User keys: what clients send.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The middle part of vgw_<id>_….")]
_MANY = ("--models", "--tag")
_COLUMNS = ("id", "user", "name", "budget_usd", "budget_window", "expires_at", "revoked_at")


class _ManyValues(TyperCommand):
    """Lets `--models a b` stand for `--models a --models b`, once the user is named."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """The same arguments with the option repeated before each of its values."""
        if not args or args[0].startswith("-"):
            return super().parse_args(ctx, args)
        spread: list[str] = []
        option: str | None = None
        for word in args:
            if word.startswith("-"):
                option = word if word in _MANY else None
            elif option is not None and spread[-1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


@app.command(cls=_ManyValues)
def create(
    user: Annotated[str, typer.Argument(metavar="USER")],
    *,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="What it alone may spend, with --per.")
    ] = None,
    per: Annotated[
        str | None, typer.Option(metavar="WINDOW", help="hour, day, week, month, total, or 24h.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only these models.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="T", help="Put on each job.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="30d|DATE")] = None,
    delivery: Annotated[
        Literal["auto", "json", "bytes"], typer.Option(help="How finished videos are answered.")
    ] = "auto",
    service: Annotated[
        bool, typer.Option("--service", help="For a program, not a person.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once."""
    if (budget is None) != (per is None):
        raise WrongUsage("--budget and --per go together, like --budget 5 --per day.")
    body = {
        "user": user,
        "name": name,
        "budget": None if budget is None else {"usd": budget, "window": per},
        "models": models or [],
        "tags": tag or [],
        "expires": expires,
        "delivery": delivery,
        "service": service,
    }
    with administration() as doors:
        _shown_once(doors.post("keys", body=body), as_json)


@app.command("list")
def list_(
    *,
    user: User = None,
    revoked: Revoked = None,
    service: Annotated[
        bool | None,
        typer.Option("--service/--no-service", help="Only those of programs, or of people."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without what opens doors."""
    with administration() as doors:
        found = doors.every("keys", user=user, revoked=revoked, service=service)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """Show a key's settings."""
    with administration() as doors:
        _shown(doors.get("keys", id), as_json)


@app.command()
def revoke(id: Id, as_json: AsJson = False) -> None:
    """End a key: its next request is refused."""
    with administration() as doors:
        _shown(doors.post("keys", id, "revoke", body={}), as_json)


@app.command()
def rotate(
    id: Id,
    overlap: Annotated[str, typer.Option(help="How long the old key still opens.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a new key that counts as the old one, which ends after the overlap."""
    with administration() as doors:
        made = doors.post("keys", id, "rotate", body={"overlap": overlap})
        _shown_once(made, as_json)


def _shown_once(made: dict[str, Any], as_json: bool) -> None:
    _shown(made, as_json)
    if not as_json:
        note("This is the only time the key is shown.")


def _shown(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(key)
    else:
        as_record(key)
