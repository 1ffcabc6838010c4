"""`serve`: run the gateway."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gateway.cli.reach import Refused


def serve(
    simulator: Annotated[
        bool, typer.Option("--simulator", help="Use the built-in stand-in for Venice.")
    ] = False,
    speed: Annotated[
        float, typer.Option(help="How many times faster than Venice the stand-in works.")
    ] = 10.0,
) -> None:
    """Run the gateway, against Venice or, with --simulator, against a stand-in for it."""
    # Imported here: the other commands start faster without them.
    import uvloop

    from gateway import server
    from gateway.app import Gateway
    from gateway.cli.newcomer import ready_key
    from gateway.logs import configure
    from gateway.policies import BadPolicy
    from gateway.ports import DatabaseRefused
    from gateway.settings import SettingsRefused, load_settings
    from gateway.simulator.settings import SimulatorSettings

    settings = load_settings(os.environ, simulator=simulator)
    configure(settings.log_format, settings.log_level)
    if not simulator:
        settings.require_api_key()
    standin = SimulatorSettings(settings.data_dir / "simulator", speed) if simulator else None

    async def ready(gateway: Gateway, url: str) -> None:
        if simulator:
            key = await ready_key(gateway, settings.data_dir)
            print(_WELCOME.format(url=url, key=key), flush=True)
        else:
            print(f"venice-gateway is ready at {url} (Venice: {settings.upstream_url})", flush=True)

    try:
        uvloop.run(server.serve(settings, simulator=standin, ready=ready))
    except (SettingsRefused, DatabaseRefused, BadPolicy) as error:
        raise Refused(str(error)) from error


_WELCOME = """
  venice-gateway is ready at {url}

  THIS IS THE SIMULATOR: no Venice, no real videos, no real money.
  Set VENICE_API_KEY and start again to use the real thing.

  A user key to try it with:

    export VENICE_API_BASE_URL={url}/api/v1
    export VENICE_API_KEY={key}

    curl -s $VENICE_API_BASE_URL/video/queue -H "Authorization: Bearer $VENICE_API_KEY" \\
      -H 'Content-Type: application/json' \\
      -d '{{"model":"wan-2.2-a14b-text-to-video","prompt":"a gondola","duration":"5s"}}'
"""
