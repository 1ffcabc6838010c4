"""R35: a revoked key is refused on its next request."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway_process import GatewayProcess


@pytest.mark.parametrize("keys", [5, pytest.param(500, marks=pytest.mark.torture)])
async def test_a_revoked_key_is_refused_on_its_next_request(
    gateway: GatewayProcess, keys: int
) -> None:
    root = (gateway.data_dir / "admin.key").read_text().strip()
    admin = "/gateway/v1/admin"
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=30) as http:
        as_admin = {"authorization": f"Bearer {root}"}
        for _ in range(keys):
            made = await http.post(f"{admin}/keys", json={"user": "anna"}, headers=as_admin)
            assert made.status_code == 201, made.text
            own = {"authorization": f"Bearer {made.json()['key']}"}
            assert (await http.get("/gateway/v1/me", headers=own)).status_code == 200
            path = f"{admin}/keys/{made.json()['id']}/revoke"
            revoked = await http.post(path, json={}, headers=as_admin)
            assert revoked.status_code == 200, revoked.text
            for door in ("/gateway/v1/me", "/api/v1/models"):
                assert (await http.get(door, headers=own)).status_code == 401
