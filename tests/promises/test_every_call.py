"""Every call to Venice passes the gate and is on its record, however it came about: shown by the
code that could make one, and by what Venice saw of a gateway that made one of each kind.
"""

from __future__ import annotations

import ast
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gateway as package
from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import MODEL, PRIVATE_MODEL, Client, eventually
from tests.simulator_process import SimulatorProcess

ROOT = Path(package.__file__).parent
CLIENT = "gateway.upstream.client"
WAY = ROOT / "upstream" / "venice.py"
HOLDERS = {ROOT / "app" / "running.py", ROOT / "app" / "offline.py", WAY}
"""Who may have the client in hand: where all is put together, and where the gate is in front."""
LINKS = {"open_link", "delete_link"}
"""Signed addresses elsewhere, which count against none of the key's limits."""
CLASS_OF = {"queue": "queue", "retrieve": "retrieve"}
LINK = "download"


def test_only_the_way_past_the_gate_has_the_client_in_hand() -> None:
    holders = {path for path in ROOT.rglob("*.py") if _imports_client(path.read_text("utf-8"))}
    assert holders == HOLDERS


def test_no_call_is_written_that_does_not_stand_behind_the_gate() -> None:
    source = WAY.read_text("utf-8")
    assert set(_called(source)) == LINKS | {"send", "open_retrieve"}
    assert _passing_by(source) == []


def test_a_call_that_passes_by_is_noticed() -> None:
    planted = WAY.read_text("utf-8").replace(
        "async with self._attempt(endpoint, user, deadline, body) as attempt:",
        "if attempt := self:",
    )
    assert _passing_by(planted) == ["send"]


async def test_what_venice_sees_is_what_the_gate_has_recorded(tmp_path: Path) -> None:
    rules = with_rules(videos={"on_complete": "purge"})
    billing = {"VENICE_BILLING_KEY": DEFAULT_BILLING_KEY}
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(tmp_path, simulator, policies=rules, settings=billing) as gateway,
    ):
        async with Client(gateway) as client:
            for model in (MODEL, PRIVATE_MODEL):
                queue_id = await client.buy("recorded", model=model)
                await client.finished(queue_id)
                await client.post("complete", {"model": model, "queue_id": queue_id})
        gateway.cli("reconcile")

        async def is_recorded() -> bool:
            return _recorded(gateway) == _seen(simulator)

        await eventually(is_recorded, 10)
        asked = {call["endpoint"] for call in simulator.truth()["calls"]}
        assert {"quote", "complete", "models", "balance", "usage"} <= asked, asked


def _seen(simulator: SimulatorProcess) -> Counter[str]:
    calls = simulator.truth()["calls"]
    return Counter(CLASS_OF.get(c["endpoint"], "other") for c in calls if c["endpoint"] != LINK)


def _recorded(gateway: GatewayProcess) -> Counter[str]:
    with sqlite3.connect(f"file:{gateway.data_dir}/gateway.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT class, count(*) FROM gate_calls GROUP BY class").fetchall()
    return Counter(dict(rows))


def _imports_client(source: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == CLIENT
        and any(name.name == "VeniceClient" for name in node.names)
        for node in ast.walk(ast.parse(source))
    )


def _calls(tree: ast.AST) -> Iterator[ast.Attribute]:
    """The methods of `self._client` that are called."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "self._client"
        ):
            yield node.func


def _called(source: str) -> list[str]:
    return [call.attr for call in _calls(ast.parse(source))]


def _passing_by(source: str) -> list[str]:
    """Calls outside every `async with self._attempt(...)`, but for those to signed links."""
    tree = ast.parse(source)
    behind = {
        id(call)
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        and any(ast.unparse(item.context_expr).startswith("self._attempt(") for item in node.items)
        for call in _calls(node)
    }
    beside = [call.attr for call in _calls(tree) if id(call) not in behind]
    return [method for method in beside if method not in LINKS]
