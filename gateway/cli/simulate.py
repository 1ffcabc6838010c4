"""`simulate`: only the stand-in for Venice, on a port of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.reach import Refused


def simulate(
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free port.")] = 8081,
    speed: Annotated[float, typer.Option(help="How many times faster than Venice.")] = 10.0,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to keep its state; in memory without it.")
    ] = None,
    limits: Annotated[bool, typer.Option(help="Whether Venice's rate limits apply.")] = True,
) -> None:
    """Run only the stand-in for Venice: its truth at /_truth, its fault plan at /_faults."""
    from gateway.simulator.server import run_server
    from gateway.simulator.settings import SimulatorSettings

    settings = SimulatorSettings(data_dir, speed, limits_enabled=limits)

    def started(url: str) -> None:
        print(f"The stand-in for Venice is at {url}", flush=True)

    try:
        asyncio.run(run_server(settings, port=port, started=started))
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise Refused(f"Cannot listen on port {port}: {error.strerror}.") from error
