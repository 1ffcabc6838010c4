"""`admin-key`: who administers. A key is shown once, when it is made; the gateway's own never."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import typer

from gateway.cli.filters import Revoked
from gateway.cli.reach import Refused, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

app = typer.Typer(no_args_is_help=True, help="Admin keys: who may administer.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As the audit will call them.")]
_COLUMNS = ("name", "role", "id", "created_at", "revoked_at")


@app.command("list")
def list_(
    *,
    role: Annotated[
        Literal["viewer", "admin"] | None, typer.Option(help="Only those in this role.")
    ] = None,
    revoked: Revoked = None,
    as_json: AsJson = False,
) -> None:
    """List named admin keys, without what opens doors."""
    with administration() as doors:
        found = doors.every("admin-keys", role=role, revoked=revoked)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def create(
    name: Name,
    role: Annotated[
        Literal["viewer", "admin"], typer.Option(help="A viewer reads and changes nothing.")
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key for an administrator and show it, this once."""
    with administration() as doors:
        made = doors.post("admin-keys", body={"name": name, "role": role})
    _shown(made, as_json)
    if not as_json:
        note("This is the only time the key is shown.")


@app.command()
def revoke(name: Name, as_json: AsJson = False) -> None:
    """End an administrator's key: its next request is refused."""
    with administration() as doors:
        _shown(doors.post("admin-keys", name, "revoke", body={}), as_json)


@app.command()
def reset(as_json: AsJson = False) -> None:
    """Put a new admin key in the data directory; the old one stops working at once."""
    from gateway.app import reset_administration_key
    from gateway.settings import load_settings

    settings = load_settings(os.environ, simulator=True, serves=False)
    if settings.url is not None or not settings.database_path.exists():
        raise Refused(
            "The admin key is reset where the gateway's data directory is: run this there, "
            "without VGW_URL."
        )
    path = reset_administration_key(settings)
    with administration() as doors:
        doors.post("admin-keys", "reset", body={})
    _shown({"path": str(path)}, as_json)


def _shown(shape: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(shape)
    else:
        as_record(shape)
