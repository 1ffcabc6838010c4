"""The processes that promises are tried on: one gateway and one stand-in for all that can share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.listening import Listener
from tests.simulator_process import SimulatorProcess


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def fast_simulator() -> Iterator[SimulatorProcess]:
    """Videos in well under a second, no limits."""
    with SimulatorProcess(speed=300, seed=1, no_limits=True) as running:
        yield running


@pytest.fixture
def simulator(fast_simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The shared stand-in, without faults before and after."""
    fast_simulator.faults([])
    yield fast_simulator
    fast_simulator.faults([])


@pytest.fixture(scope="session")
def shared_gateway(
    fast_simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One gateway for all tests, killed by some of them; it keeps completed videos."""
    folder = tmp_path_factory.mktemp("gateway")
    rules = with_rules(videos={"on_complete": "keep"}, quotes={"fresh": "1s"})
    users = {"anna": None, "berta": None, "carla": None}
    with GatewayProcess(folder, fast_simulator, policies=rules, users=users) as running:
        yield running


@pytest.fixture
def gateway(shared_gateway: GatewayProcess, simulator: SimulatorProcess) -> GatewayProcess:
    """The shared gateway before a stand-in without faults; alive, whatever the last test did."""
    del simulator
    if not shared_gateway.is_running:
        shared_gateway.restart()
    return shared_gateway


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A receiver of notices, for one test."""
    opened = Listener()
    yield opened
    opened.close()
