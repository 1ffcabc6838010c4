"""Where the demonstration plays: a folder that is removed at the end, with rules of its own.

Of the environment only the address is read: a real key must not be able to get in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.settings import Settings, load_settings
from gateway.simulator.settings import SimulatorSettings

SPEED = 80.0
"""Two minutes at Venice are a second and a half here: the first video comes while one still looks.
Nearly all are ready by the first look at them; the next one is seconds later."""
QUEUE_PER_MINUTE = 400
RETRIEVE_PER_MINUTE = 1_200
"""Ten times what Venice allows one key, so that many people can be watched at once."""
FAILURES = 40
"""Twice Venice's: one user may cause ten in 30 s, enough for every bad end at once."""
FAILURES_IN_CHAOS = 400
"""Chaos is about single calls; with fewer the gateway would soon, rightly, pause."""
NEARLY_SPENT_USD = "0.30"
"""What a user of the team `class` may spend a day: five of the cheapest videos."""

ADDRESS = ("VGW_HOST", "VGW_PORT", "VGW_PUBLIC_URL")

_RULES = """\
# The rules of the demonstration. Change them while it runs: they apply within two seconds.
version: 1
organization: {{pool: {{month: 5000}}}}
venice:
  queue_per_minute: {queue}
  retrieve_per_minute: {retrieve}
  failures_per_30s: {failures}
videos: {{free_disk: 64MiB, keep: 10m, keep_undelivered: 30m, grace: 10m}}
teams:
  film: {{policy: studio, pool: {{month: 2000}}}}
  class: {{policy: classroom, pool: {{month: 100}}}}
policies:
  default: {{each_user: {{day: 200}}, job: {{usd: 5}}}}
  studio: {{extends: default, each_user: {{day: 500}}}}
  classroom: {{extends: default, each_user: {{day: {nearly_spent}}}, job: {{usd: 1}}}}
"""


@dataclass(frozen=True)
class Stage:
    """A place to play, and what a gateway and a simulator need to start there."""

    folder: Path
    settings: Settings
    simulator: SimulatorSettings

    @property
    def admin_key_file(self) -> Path:
        """The file with the key of administration; the key itself is never shown."""
        return self.settings.data_dir / "admin.key"


@contextmanager
def stage(environ: Mapping[str, str], *, chaos: bool) -> Iterator[Stage]:
    """A fresh stage; nothing of it is left afterwards."""
    with TemporaryDirectory(prefix="venice-gateway-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        failures = FAILURES_IN_CHAOS if chaos else FAILURES
        rules = folder / "policies" / "demo.yaml"
        rules.parent.mkdir()
        rules.write_text(
            _RULES.format(
                queue=QUEUE_PER_MINUTE,
                retrieve=RETRIEVE_PER_MINUTE,
                failures=failures,
                nearly_spent=NEARLY_SPENT_USD,
            )
        )
        address = {name: environ[name] for name in ADDRESS if name in environ}
        if "VGW_HOST" in address:
            # It is reached from its own machine all the same, through a published port.
            address.setdefault(
                "VGW_PUBLIC_URL", f"http://localhost:{address.get('VGW_PORT', 8080)}"
            )
        yield Stage(
            folder,
            load_settings(address, simulator=True, cwd=folder),
            SimulatorSettings(
                speed=SPEED,
                queue_per_minute=QUEUE_PER_MINUTE,
                retrieve_per_minute=RETRIEVE_PER_MINUTE,
                failures_per_30s=failures,
                balance_usd=Decimal(100_000),
            ),
        )
