"""The commands by name, and the one place where a refusal becomes an exit status."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    admin_key,
    audit,
    backup,
    demo,
    doctor,
    grant,
    init,
    job,
    key,
    ledger,
    migrate,
    notice,
    policy,
    reconcile,
    serve,
    simulate,
    snippets,
    spend,
    spending,
    user,
    video,
)
from gateway.cli.reach import Refused, WrongUsage
from gateway.cli.show import note
from gateway.settings import SettingsRefused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"venice-gateway {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    """The gateway between your people and Venice's video API."""


app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("snippets")(snippets.snippets)
app.add_typer(user.teams, name="team")
app.add_typer(user.app, name="user")
app.add_typer(key.app, name="key")
app.add_typer(grant.app, name="grant")
app.add_typer(job.app, name="job")
app.command("spend")(spend.spend)
app.command("reconcile")(reconcile.reconcile)
app.add_typer(spending.app, name="spending")
app.add_typer(ledger.app, name="ledger")
app.add_typer(notice.app, name="notice")
app.add_typer(policy.app, name="policy")
app.add_typer(video.app, name="video")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("migrate")(migrate.migrate)
app.add_typer(admin_key.app, name="admin-key")
app.add_typer(audit.app, name="audit")


def main() -> None:
    """Run a command: exit 0 when done, 1 when refused or failed, 2 for wrong usage."""
    try:
        app()
    except (SettingsRefused, Refused) as error:
        _end(f"error: {error}", 1)
    except WrongUsage as error:
        _end(f"error: {error}", 2)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _end(text: str, status: int) -> None:
    note(text)
    sys.exit(status)
