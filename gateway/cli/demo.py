"""`demo`: a whole organization at work before a simulated Venice, on data that is thrown away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer


def demo(
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Let Venice misbehave, and tell what was saved.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="End after so long.")
    ] = None,
) -> None:
    """Show the gateway at work: users, budgets, keys and live traffic, without Venice."""
    import uvloop

    from gateway.demo.play import run
    from gateway.demo.stage import stage
    from gateway.logs import configure

    configure("console", "critical")

    def say(text: str) -> None:
        print(text, flush=True)

    # Until the gateway takes signals itself, SIGTERM ends this as Ctrl-C does: the folder must go.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with stage(os.environ, chaos=chaos) as here:
            uvloop.run(run(here, say, chaos=chaos, seconds=seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Ended before it began.", file=sys.stderr)
    say("Everything has ended, and its data directory is removed.")
