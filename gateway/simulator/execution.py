"""How long a job takes: log-normal, with the published average as its 80 % quantile."""

import hashlib
import math
import uuid
from statistics import NormalDist

# Spread seen in generation services: the median lies a fifth under the P80, the P99 at 1.6 times.
SIGMA = 0.3
P80_QUANTILE = 0.8
_NORMAL = NormalDist()
_P80 = _NORMAL.inv_cdf(P80_QUANTILE)


def queue_id_for(seed: int, number: int) -> str:
    """The UUID of the ``number``-th job under a seed."""
    digest = hashlib.sha256(f"queue:{seed}:{number}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def execution_seconds(seed: int, queue_id: str, p80_seconds: float) -> float:
    """Seconds one job takes; the same for the same seed and id."""
    digest = hashlib.sha256(f"time:{seed}:{queue_id}".encode()).digest()
    fraction = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    deviation = _NORMAL.inv_cdf(fraction) - _P80
    return p80_seconds * math.exp(SIGMA * deviation)
