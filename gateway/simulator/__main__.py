"""``python -m gateway.simulator``: the stand-in alone; prints its base URL and serves."""

import argparse
import asyncio
import signal
import sys
from decimal import Decimal
from pathlib import Path

from gateway.simulator.server import LOOPBACK, run_server
from gateway.simulator.settings import PACKAGED_CATALOGUE, SimulatorSettings


def main() -> None:
    """Serve until told to stop; exit status 1 with the reason, 2 for wrong usage."""
    options = _parser().parse_args()
    values = vars(options)
    host, port = values.pop("host"), values.pop("port")
    given = {name: value for name, value in values.items() if value is not None}
    given["limits_enabled"] = not given.pop("no_limits")
    for name in ("billing_keys", "refused_keys"):
        if name in given:
            given[name] = frozenset(given[name])
    try:
        asyncio.run(_serve(SimulatorSettings(**given), host, port))
    except (OSError, ValueError) as error:
        sys.exit(f"gateway.simulator: {error}")


async def _serve(settings: SimulatorSettings, host: str, port: int) -> None:
    serving = asyncio.create_task(run_server(settings, host, port, _announce))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def _announce(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gateway.simulator", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, help="keep state here; else in memory")
    parser.add_argument("--speed", type=float, help="divides the time jobs take")
    parser.add_argument("--window-scale", type=float, help="divides the windows of rate limits")
    parser.add_argument("--queue-per-minute", type=int)
    parser.add_argument("--retrieve-per-minute", type=int)
    parser.add_argument("--failures-per-30s", type=int)
    parser.add_argument("--no-limits", action="store_true")
    parser.add_argument("--balance-usd", type=Decimal)
    parser.add_argument("--billing-key", action="append", dest="billing_keys")
    parser.add_argument("--refused-key", action="append", dest="refused_keys")
    parser.add_argument("--catalogue", type=Path, default=PACKAGED_CATALOGUE)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--public-url")
    parser.add_argument("--link-downloads-max", type=int)
    parser.add_argument("--video-bytes-min", type=int)
    parser.add_argument("--bill-delay-seconds", type=float)
    parser.add_argument(
        "--anonymous-bill", action="store_false", dest="bill_names_queue_id", default=None
    )
    return parser


if __name__ == "__main__":
    main()
