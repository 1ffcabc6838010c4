"""The doors of administration of a running gateway, with its admin key."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.gateway_process import GatewayProcess

ADMIN = "/gateway/v1/admin"


@pytest.fixture
def admin(gateway_server: GatewayProcess) -> Iterator[httpx.Client]:
    key = (gateway_server.data_dir / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=gateway_server.url + ADMIN, headers=headers, trust_env=False
    ) as client:
        yield client
