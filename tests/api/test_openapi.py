"""`openapi.json` says what the doors do: every door is in it, and every answer is as it says.

R30, for our own doors: whatever fits the document or does not, no error is unhandled.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess, with_rules
from tests.promises.asking import Client, settled_down
from tests.promises.books import assert_books_balance, job_of
from tests.simulator_process import SimulatorProcess

DOCUMENT = document(DOORS.values())
ADMIN = "/gateway/v1/admin"
SEED = int.from_bytes(os.urandom(4))
CASES, CASES_AT_LENGTH = 4, 450
"""Of each door; one that takes nothing has fewer."""
ASKED_AT_LENGTH_MIN = 20_000
"""Of the 50,000; tests/promises/test_generated.py asks the others."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = {
    f"{found.method.upper()} {found.path}": found
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(result, Ok)
    for found in [result.ok()]
}
OF_ADMIN = [name for name, found in OPERATIONS.items() if found.path.startswith(ADMIN)]
OF_USERS = [name for name in OPERATIONS if name not in OF_ADMIN]
"""Venice's doors, the user's own, and those that ask for no key."""


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


class Described:
    """A gateway of its own, as anything may be done to it, with one job whose video is here."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.admin_key = (gateway.data_dir / "admin.key").read_text().strip()
        self.job = asyncio.run(self._bought())
        self.asked = 0

    async def _bought(self) -> str:
        async with Client(self.gateway) as client:
            queue_id = await client.buy("the job that is known")
            assert (await client.finished(queue_id)).status_code == 200
        return job_of(self.gateway, queue_id).id

    def link(self) -> str:
        """The token of a new link to the video."""
        answer = httpx.post(
            f"{self.gateway.url}/gateway/v1/jobs/{self.job}/links",
            headers={"Authorization": f"Bearer {self.gateway.user_key}"},
            json={},
            trust_env=False,
        )
        token: str = answer.json()["url"].rpartition("/")[2]
        return token

    def known(self, path: str) -> dict[str, str]:
        """What stands in the path of something that is there."""
        if "{token}" in path:
            return {"token": self.link()}
        is_key = path.startswith(f"{ADMIN}/keys")
        return {"name": "anna", "id": self.gateway.user_key.split("_")[1] if is_key else self.job}

    def tells_nothing(self, _context: Any, response: Any, _case: Any) -> None:
        """No answer has a secret or a traceback in it."""
        self.asked += 1
        assert self.found_in(response.content) == []

    def found_in(self, data: bytes) -> list[str]:
        """What must be nowhere."""
        secret = {"organization": ORGANIZATION_KEY, "admin": self.admin_key}
        secret |= {"user": self.gateway.user_key, "traceback": "Traceback"}
        return [name for name, text in secret.items() if text.encode() in data]


@contextmanager
def running(folder: Path) -> Iterator[Described]:
    """One whose books balance and whose log is clean once everything was asked of it."""
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(folder, simulator, policies=with_rules(quotes={"fresh": "1s"})) as gateway,
    ):
        found = Described(gateway)
        yield found
        print(f"{found.asked} requests")
        asyncio.run(settled_down(gateway, 60))
        assert_books_balance(gateway)
        assert gateway.events("request.failed") == []
        assert found.found_in(gateway.log().encode()) == []


@pytest.fixture(scope="module")
def administered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    with running(tmp_path_factory.mktemp("administered")) as found:
        yield found


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    with running(tmp_path_factory.mktemp("used")) as found:
        yield found


def test_a_running_gateway_gives_it_to_anybody(used: Described) -> None:
    answer = httpx.get(f"{used.gateway.url}/gateway/v1/openapi.json", trust_env=False)
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(DOCUMENT))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to this machine is straight."""
    monkeypatch.setenv("NO_PROXY", "*")


def keep_to_it(described: Described, name: str, key: str, cases: int) -> None:
    """Ask a door in many ways, and compare each answer with what is said of it."""
    print(f"seed {SEED}")
    before = described.asked
    headers = {"Authorization": f"Bearer {key}"}
    known = described.known(OPERATIONS[name].path)
    checks = [*CHECKS, described.tells_nothing]
    if name.endswith("/events"):
        # It is described as one text; the check would hold each event of it to that.
        checks.remove(response_schema_conformance)

    @seed(SEED)
    @settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=OPERATIONS[name].as_strategy(), is_known=st.booleans())
    def each(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters.update((n, known[n]) for n in case.path_parameters)
        case.call_and_validate(base_url=described.gateway.url, headers=headers, checks=checks)

    each()
    assert described.asked > before


@pytest.mark.parametrize("name", OF_ADMIN)
def test_every_door_of_administration_answers_as_it_says(
    administered: Described, name: str
) -> None:
    keep_to_it(administered, name, administered.admin_key, CASES)


@pytest.mark.torture
@pytest.mark.parametrize("name", OF_ADMIN)
def test_every_door_of_administration_answers_as_it_says_at_length(
    administered: Described, name: str
) -> None:
    keep_to_it(administered, name, administered.admin_key, CASES_AT_LENGTH)


@pytest.mark.parametrize("name", OF_USERS)
def test_every_door_of_users_answers_as_it_says(used: Described, name: str) -> None:
    keep_to_it(used, name, used.gateway.user_key, CASES)


@pytest.mark.torture
@pytest.mark.parametrize("name", OF_USERS)
def test_every_door_of_users_answers_as_it_says_at_length(used: Described, name: str) -> None:
    keep_to_it(used, name, used.gateway.user_key, CASES_AT_LENGTH)


@pytest.mark.torture
def test_at_length_they_were_asked_often_enough(administered: Described, used: Described) -> None:
    assert administered.asked + used.asked >= ASKED_AT_LENGTH_MIN
