"""The commands by name, and the one place where a refusal becomes an exit status."""

from __future__ import annotations

import sys

import typer

from gateway.cli import serve, simulate
from gateway.settings import SettingsRefused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The gateway between your people and Venice's video API.",
)
app.command("serve")(serve.serve)
app.command("simulate")(simulate.simulate)


def main() -> None:
    """Run a command: exit 0 when done, 1 when refused or failed, 2 for wrong usage."""
    try:
        app()
    except SettingsRefused as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
