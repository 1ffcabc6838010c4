"""`openapi.json` says what the doors do: every door is in it, and every answer is as it says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.api.described import SAID
from gateway.api.openapi import document
from gateway.api.routes import DOORS
from tests.gateway_process import GatewayProcess
from tests.simulator_process import SimulatorProcess

DOCUMENT = document(DOORS.values())
ADMIN = "/gateway/v1/admin"
SEED = int.from_bytes(os.urandom(4))
CASES, CASES_AT_LENGTH = 4, 250
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = {
    f"{found.method.upper()} {found.path}": found
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(result, Ok) and (found := result.ok()).path.startswith(ADMIN)
}


def test_the_document_is_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_door_is_described_and_every_described_one_exists() -> None:
    there = {
        (method, route.path)
        for route in DOORS.values()
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert set(SAID) == there
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], f"{method} {path} has no sentence"


def test_operations_have_names_of_their_own() -> None:
    names = [o["operationId"] for path in DOCUMENT["paths"].values() for o in path.values()]
    assert len(names) == len(set(names))


def test_no_secret_is_asked_for_or_answered_but_where_it_is_made() -> None:
    shown = [
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if {"key", "secret", "digest"} & set(schema.get("properties", ())) and "New" in name
    ]
    assert shown == ["NewAdminKeyAnswer", "NewKeyAnswer", "NewWebhookAnswer"]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of its own: anything may be done to it."""
    folder = tmp_path_factory.mktemp("described")
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(folder, simulator) as running,
    ):
        yield running


def test_a_running_gateway_gives_it_to_anybody(described: GatewayProcess) -> None:
    answer = httpx.get(f"{described.url}/gateway/v1/openapi.json", trust_env=False)
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(DOCUMENT))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to this machine is straight."""
    monkeypatch.setenv("NO_PROXY", "*")


def keep_to_it(described: GatewayProcess, name: str, cases: int) -> None:
    """Ask a door in many ways, and compare each answer with what is said of it."""
    print(f"seed {SEED}")
    key = (described.data_dir / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    known = {"name": "anna", "id": described.user_key.split("_")[1]}

    @seed(SEED)
    @settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=OPERATIONS[name].as_strategy(), is_known=st.booleans())
    def each(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters.update((n, known[n]) for n in case.path_parameters)
        case.call_and_validate(base_url=described.url, headers=headers, checks=CHECKS)

    each()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_door_of_administration_answers_as_it_says(
    described: GatewayProcess, name: str
) -> None:
    keep_to_it(described, name, CASES)


@pytest.mark.torture
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_door_of_administration_answers_as_it_says_at_length(
    described: GatewayProcess, name: str
) -> None:
    keep_to_it(described, name, CASES_AT_LENGTH)
