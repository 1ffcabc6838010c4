"""What a simulator can be told at its start; it reads no environment and no files."""

import secrets
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

PACKAGED_CATALOGUE = Path(__file__).with_name("catalogue.yaml")
DEFAULT_BILLING_KEY = "simulated-billing-key"


def _fresh_seed() -> int:
    # Queue ids derive from the seed: a fixed default would hand out the ids of the last run again.
    return secrets.randbits(32)


@dataclass(frozen=True)
class SimulatorSettings:
    """Everything adjustable; the defaults are Venice as documented.

    ``data_dir`` None keeps all state in memory. Model times are divided by ``speed``, rate and
    block windows by ``window_scale``. ``public_url`` is the origin download links are made from;
    None takes the origin of each request. ``video_bytes_min`` pads every video with more frames.
    ``link_downloads_max`` is how many GETs one download link serves before it answers 429.
    Charges appear on the bill ``bill_delay_seconds`` (divided by ``speed``) after they were made,
    with the queue id as their request id unless ``bill_names_queue_id`` is False.
    """

    data_dir: Path | None = None
    speed: float = 1.0
    window_scale: float = 1.0
    queue_per_minute: int = 40
    retrieve_per_minute: int = 120
    failures_per_30s: int = 20
    limits_enabled: bool = True
    balance_usd: Decimal = Decimal(1000)
    billing_keys: frozenset[str] = frozenset({DEFAULT_BILLING_KEY})
    refused_keys: frozenset[str] = frozenset()
    catalogue: Path = PACKAGED_CATALOGUE
    seed: int = field(default_factory=_fresh_seed)
    public_url: str | None = None
    link_downloads_max: int = 10
    video_bytes_min: int = 0
    bill_delay_seconds: float = 0.0
    bill_names_queue_id: bool = True

    def __post_init__(self) -> None:
        if self.speed <= 0 or self.window_scale <= 0:
            raise ValueError("speed and window_scale must be greater than 0")
