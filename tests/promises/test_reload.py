"""Rules change while the gateway runs: by a signal, by a command, by themselves within two seconds;
and bad ones change nothing but what people see.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.gateway_process import CommandRefused, GatewayProcess, with_rules
from tests.promises.asking import Client, eventually
from tests.simulator_process import SimulatorProcess

WITHIN_SECONDS = 2.0
LATE_SECONDS = 3.0
"""What a machine that does other things may add."""


def rules(day: int) -> dict[str, Any]:
    return with_rules(policies={"default": {"each_user": {"day": day}}})


async def limit(gateway: GatewayProcess) -> str:
    async with Client(gateway) as client:
        (budget,) = (await client.get("/gateway/v1/me")).json()["budgets"]
    return str(budget["limit_usd"])


@pytest.fixture(scope="module")
def edited(
    fast_simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("reloaded")
    with GatewayProcess(folder, fast_simulator, policies=rules(1)) as running:
        yield running


async def by_themselves(gateway: GatewayProcess) -> None:
    del gateway


async def by_signal(gateway: GatewayProcess) -> None:
    gateway.signal(signal.SIGHUP)


async def by_command(gateway: GatewayProcess) -> None:
    await asyncio.to_thread(gateway.cli, "policy", "reload")


@pytest.mark.parametrize(
    ("way", "number"), [(by_themselves, 10), (by_signal, 20), (by_command, 30)]
)
async def test_new_rules_are_in_force_within_two_seconds(
    edited: GatewayProcess, way: Callable[[GatewayProcess], Awaitable[None]], number: int
) -> None:
    edited.write_policies(rules(number))
    await way(edited)
    began = time.monotonic()

    async def is_in_force() -> bool:
        return await limit(edited) == f"{number}.000000"

    await eventually(is_in_force, WITHIN_SECONDS + LATE_SECONDS)
    print(f"in force after {time.monotonic() - began:.2f} s")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\npolicies:\n  default: {each_usr: {day: 1}}\n", "did you mean each_user?"),
        ("version: 1\npolicies:\n  default: {each_user: {day: -1}}\n", "cannot be negative"),
        ("version: 1\npolicies: {other: {}}\n", "the policy `default` is missing"),
        ("{", "rules.yaml:"),
    ],
)
async def test_bad_files_leave_the_old_rules_standing_and_are_seen(
    edited: GatewayProcess, text: str, told: str
) -> None:
    edited.write_policies(rules(40))
    await asyncio.to_thread(edited.reload)
    edited.write_policies(text)
    await asyncio.to_thread(edited.reload)
    assert await limit(edited) == "40.000000"
    assert edited.metrics()["venice_gateway_policies_ok"] == 0
    assert told in edited.events("policies.refused")[-1]["why"]
    async with Client(edited) as client:
        shown = await client.get("/readyz?verbose")
    assert shown.status_code == 200
    assert told in shown.text
    with pytest.raises(CommandRefused, match="refused"):
        await asyncio.to_thread(edited.cli, "policy", "reload")
    edited.write_policies(rules(41))
    await asyncio.to_thread(edited.reload)
    assert (await limit(edited), edited.metrics()["venice_gateway_policies_ok"]) == ("41.000000", 1)


async def test_a_folder_that_is_gone_for_a_moment_changes_nothing(
    edited: GatewayProcess,
) -> None:
    edited.write_policies(rules(50))
    await asyncio.to_thread(edited.reload)
    folder = edited.folder / "policies"
    aside = edited.folder / "aside"
    await asyncio.to_thread(folder.rename, aside)

    async def is_seen() -> bool:
        found = await asyncio.to_thread(edited.metrics)
        return found["venice_gateway_policies_ok"] == 0

    await eventually(is_seen, WITHIN_SECONDS + LATE_SECONDS)
    assert await limit(edited) == "50.000000"
    await asyncio.to_thread(aside.rename, folder)

    async def is_well() -> bool:
        return not await is_seen()

    await eventually(is_well, WITHIN_SECONDS + LATE_SECONDS)
