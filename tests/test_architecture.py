"""The house rules about imports and money, held on the syntax tree of every module.

Each rule is shown to be able to fail on a planted fault.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import gateway

ROOT = Path(gateway.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
SIMULATOR = "gateway.simulator"
VERBS_FLOOR = 3
FLOORS = {
    "gateway.core": 1,
    "gateway.ports": 2,
    "gateway.records": 2,
    "gateway.settings": 2,
    "gateway.setting_values": 2,
    "gateway.policies": 2,
    "gateway.policy_files": 2,
    "gateway.metrics": 2,
    "gateway.ledgered": 2,
    "gateway.system_calls": 2,
    "gateway.upstream": VERBS_FLOOR,
    "gateway.storage": VERBS_FLOOR,
    "gateway.api": 4,
    "gateway.console": 4,
    "gateway.workers": 4,
    "gateway.app": 5,
    "gateway.demo": 5,
    "gateway.server": 5,
    SIMULATOR: 5,
    "gateway.cli": 6,
    "gateway.__main__": 6,
}
"""Any other module of the package itself is a verb: submit, track, deliver and their like."""
BACKENDS = ("gateway.storage", "gateway.upstream")

PURE = frozenset(
    """__future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime
    decimal difflib email.utils enum fnmatch fractions functools hashlib heapq hmac html ipaddress
    itertools json math operator re statistics string struct textwrap types typing unicodedata
    urllib.parse zlib zoneinfo pydantic pydantic_core""".split()
)
"""What `core/` may import beside itself: nothing here does I/O, reads a clock or draws chance."""
IMPURE_CALLS = frozenset({"open", "print", "input", "eval", "exec", "__import__", "breakpoint"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})

NETWORK = frozenset(
    """httpx httpcore aiohttp requests http.client urllib.request urllib3 ftplib smtplib
    socketserver xmlrpc""".split()
)
WAYS_OUT = {
    "gateway.upstream.client",
    "gateway.upstream.webhooks",
    # what carries the first: it connects where that says
    "gateway.upstream.wide_reads",
    # reads which proxies the environment names, and connects to nothing
    "gateway.upstream.egress",
}

MONEY_CORE = (
    "money",
    "pricing",
    "budget",
    "notation",
    "policy",
    "job_check",
    "job",
    "movement",
)
MONEY_MODULES = tuple(f"gateway.core.{name}" for name in MONEY_CORE)
MONEY_EXITS = ("gateway.metrics",)
"""Prometheus knows no numbers but floats, so money leaves exactness there, and only there."""


parsed = cache(ast.parse)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module a source names, also inside functions; of `from a import b` also `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which floor they come from"
            assert node.module is not None
            yield node.module
            if node.module.split(".")[0] == "gateway":
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (name for name in names if name in MODULES)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def floor_of(module: str) -> int:
    named = (floor for package, floor in FLOORS.items() if within(module, package))
    return next(named, VERBS_FLOOR)


def is_verb(module: str) -> bool:
    return floor_of(module) == VERBS_FLOOR and not any(within(module, b) for b in BACKENDS)


def upward_imports(module: str, source: str) -> list[str]:
    """Imports that point up a floor."""
    ours = {name for name in imported(parsed(source)) if within(name, "gateway")} - {"gateway"}
    return sorted(name for name in ours if floor_of(name) > floor_of(module))


def sideways_imports(module: str, source: str) -> list[str]:
    """Backends that know a verb or another backend, and anything but `app` that knows a backend."""
    own = next((backend for backend in BACKENDS if within(module, backend)), None)
    wrong = []
    for name in imported(parsed(source)):
        names_verb = within(name, "gateway") and name != "gateway" and is_verb(name)
        backend = next((backend for backend in BACKENDS if within(name, backend)), None)
        is_foreign = backend not in (None, own) and not within(module, "gateway.app")
        if is_foreign or (own and names_verb):
            wrong.append(name)
    return sorted(set(wrong))


def foreign_imports(module: str, source: str) -> list[str]:
    """What the simulator knows of the gateway."""
    ours = {name for name in imported(parsed(source)) if within(name, "gateway")}
    return sorted(name for name in ours if not within(name, SIMULATOR))


def impurities(module: str, source: str) -> list[str]:
    """Imports and calls by which a core module would meet the world."""
    tree = parsed(source)
    wrong = [n for n in imported(tree) if not within(n, "gateway.core") and not _is_pure(n)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                wrong.append(f"{node.func.id}()")
            if isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS:
                holder = ast.unparse(node.func.value).split(".")[-1]
                if holder in ("datetime", "date"):
                    wrong.append(f"{holder}.{node.func.attr}()")
    return wrong


def _is_pure(name: str) -> bool:
    return name in PURE or name.split(".", maxsplit=1)[0] in PURE


def floats(module: str, source: str) -> list[str]:
    """Float literals, uses of `float`, and true division: none has a place beside money.

    An annotation computes nothing, and the same module may be told of seconds.
    """
    return [f"line {n.lineno}: {ast.unparse(n)}" for n in _inexact(parsed(source))]


def floats_on_money(module: str, source: str) -> list[str]:
    """The same, but only where micro-dollars are part of the expression."""
    if "micros" not in source:
        return []
    wrong = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.BinOp | ast.Call | ast.AugAssign) and _mentions_micros(node):
            wrong += [f"line {n.lineno}: {ast.unparse(n)}" for n in _inexact(node)]
    return sorted(set(wrong))


def _inexact(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    annotations = {id(part) for node in ast.walk(tree) for part in _annotation_of(node)}
    for node in ast.walk(tree):
        if (
            (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
            or (isinstance(node, ast.Name) and node.id == "float" and id(node) not in annotations)
            or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
        ):
            yield node


def _annotation_of(node: ast.AST) -> Iterator[ast.AST]:
    for name in ("annotation", "returns"):
        annotation = getattr(node, name, None)
        if annotation is not None:
            yield from ast.walk(annotation)


def _mentions_micros(tree: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr == "micros" for n in ast.walk(tree))


def network_imports(module: str, source: str) -> list[str]:
    """What opens connections of its own."""
    return sorted({name for name in imported(parsed(source)) if name in NETWORK})


def _is_a_programs(module: str, _: str) -> bool:
    """Commands and the demo are clients of a gateway; the simulator is a server."""
    apart = ("gateway.cli", "gateway.demo", SIMULATOR)
    return not any(within(module, package) for package in apart)


def _handles_money(module: str, source: str) -> bool:
    if module in MONEY_MODULES:
        return True
    return within(module, "gateway.storage") and "gateway.core.money" in imported(parsed(source))


Rule = Callable[[str, str], list[str]]


def broken(rule: Rule, applies: Callable[[str, str], bool]) -> dict[str, list[str]]:
    """The modules that break a rule, and how."""
    found = {}
    for module, path in MODULES.items():
        source = path.read_text("utf-8")
        if applies(module, source) and (wrong := rule(module, source)):
            found[module] = wrong
    return found


def test_imports_point_down_the_floors() -> None:
    assert not broken(upward_imports, lambda module, _: not within(module, SIMULATOR))


def test_only_app_names_a_backend_and_backends_know_no_verb() -> None:
    assert not broken(sideways_imports, lambda module, _: not within(module, SIMULATOR))


def test_the_simulator_knows_nothing_of_the_gateway() -> None:
    assert not broken(foreign_imports, lambda module, _: within(module, SIMULATOR))


def test_core_meets_no_world() -> None:
    assert not broken(impurities, lambda module, _: within(module, "gateway.core"))


def test_no_float_is_in_a_module_of_money() -> None:
    assert not broken(floats, _handles_money)


def test_no_float_meets_micro_dollars_anywhere() -> None:
    assert not broken(floats_on_money, lambda module, _: module not in MONEY_EXITS)


def test_connections_are_opened_to_venice_and_to_receivers_by_one_module_each() -> None:
    """R37: a module that opens others is a way out that nobody checks."""
    assert set(broken(network_imports, _is_a_programs)) == WAYS_OUT


def test_every_module_says_first_what_it_is_for() -> None:
    silent = [
        module
        for module, path in MODULES.items()
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not silent


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward_imports, "gateway.core.money", "import gateway.ports"),
        (upward_imports, "gateway.core.money", "from gateway import settings"),
        (upward_imports, "gateway.settings", "def f():\n    from gateway.submit import order"),
        (upward_imports, "gateway.submit", "from gateway.api import routes"),
        (upward_imports, "gateway.storage.ledger_sqlite", "import gateway.app"),
        (upward_imports, "gateway.workers.tracker", "from gateway.cli.serve import serve"),
        (upward_imports, "gateway.app", "import gateway.__main__"),
        (upward_imports, "gateway.submit", "import gateway.simulator.app"),
        (sideways_imports, "gateway.upstream.client", "from gateway.storage import videos_disk"),
        (sideways_imports, "gateway.storage.ledger_sqlite", "import gateway.track"),
        (sideways_imports, "gateway.submit", "from gateway.upstream.gate import Gate"),
        (sideways_imports, "gateway.api.routes", "import gateway.storage.ledger_sqlite"),
        (sideways_imports, "gateway.cli.serve", "import gateway.upstream.client"),
        (foreign_imports, "gateway.simulator.app", "from gateway.core.money import Money"),
        (foreign_imports, "gateway.simulator.app", "from gateway import settings"),
        (impurities, "gateway.core.money", "import os"),
        (impurities, "gateway.core.money", "from pathlib import Path"),
        (impurities, "gateway.core.money", "import urllib.request"),
        (impurities, "gateway.core.money", "import random"),
        (impurities, "gateway.core.money", "from time import monotonic"),
        (impurities, "gateway.core.money", "import httpx"),
        (impurities, "gateway.core.money", "text = open('x').read()"),
        (impurities, "gateway.core.money", "at = datetime.now(UTC)"),
        (impurities, "gateway.core.money", "day = datetime.date.today()"),
        (network_imports, "gateway.submit", "def f():\n    from httpx import get"),
        (floats, "gateway.core.money", "RATE = 0.1"),
        (floats, "gateway.core.money", "RATE = 1e6"),
        (floats, "gateway.core.money", "def dollars(m): return float(m.micros)"),
        (floats, "gateway.core.money", "def dollars(m): return m.micros / 1000000"),
        (floats, "gateway.core.money", "def halve(x):\n    x /= 2"),
        (floats, "gateway.core.money", "totals = map(float, amounts)"),
        (floats_on_money, "gateway.api.own.me", "shown = money.micros / 10**6"),
        (floats_on_money, "gateway.api.own.me", "shown = float(job.reserved.micros)"),
        (floats_on_money, "gateway.api.own.me", "shown = money.micros * 0.5"),
    ],
)
def test_a_planted_fault_trips_its_rule(rule: Rule, module: str, source: str) -> None:
    assert rule(module, source)


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward_imports, "gateway.api.routes", "from gateway.submit import order"),
        (upward_imports, "gateway.core.policy", "from gateway.core.money import Money"),
        (sideways_imports, "gateway.app", "from gateway.storage import ledger_sqlite"),
        (sideways_imports, "gateway.storage.a", "from gateway.storage.b import c"),
        (sideways_imports, "gateway.storage.a", "from gateway.ports import Ledger"),
        (impurities, "gateway.core.mp4", "import struct\nfrom collections.abc import Iterator"),
        (floats, "gateway.core.money", "half = micros // 2"),
        (floats, "gateway.storage.ledger", "def note(seconds: float) -> float | None: ..."),
        (floats_on_money, "gateway.submit", "left = deadline / 2 if money.micros else 0.5"),
    ],
)
def test_what_is_allowed_trips_no_rule(rule: Rule, module: str, source: str) -> None:
    assert not rule(module, source)


def test_a_module_of_money_in_storage_is_found_by_what_it_imports() -> None:
    assert _handles_money("gateway.storage.anything", "from gateway.core.money import Money")
    assert not _handles_money("gateway.storage.anything", "import struct")
