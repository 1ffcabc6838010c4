"""What tests of several folders share: a gateway that real clients can talk to."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

VIDEO_SPEED = 80
"""A video takes one or two seconds."""
SEED = random.SystemRandom().randrange(2**32)


@pytest.fixture
def chance() -> random.Random:
    """Chance that a failed run tells how to repeat."""
    print(f"seed {SEED}")
    return random.Random(SEED)


@pytest.fixture(scope="module")
def gateway_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A running gateway that keeps completed videos, before a simulator without limits.

    One for each file: what a file leaves behind, a job in doubt say, is in nobody else's books.
    """
    folder = tmp_path_factory.mktemp("gateway-server")
    with (
        SimulatorProcess(speed=VIDEO_SPEED, window_scale=60, seed=1) as simulator,
        GatewayProcess(folder, simulator, policies=with_rules(videos={"on_complete": "keep"})) as g,
    ):
        yield g
