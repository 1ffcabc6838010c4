"""Clients for tests: impatient or not, with keys that must never be seen anywhere."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from gateway.core.retry import Endpoint
from gateway.ports import Reply
from gateway.upstream.client import VeniceClient
from gateway.upstream.limits import BodyLimits, ClientLimits
from tests.upstream.raw_server import Behaviour, answer, raw_server

KEY = "canary-organization-key"
BILLING_KEY = "canary-billing-key"
CERTIFICATE = Path(__file__).with_name("certificate.pem")
BODY = BodyLimits(json_bytes_max=64 * 1024)
PATIENT = ClientLimits(body=BODY)
QUICK = ClientLimits(
    connect_seconds=0.15, answer_seconds=0.15, queue_seconds=0.2, quiet_seconds=0.15, body=BODY
)
"""For servers that never finish; the others get all the time they want."""
OK_JSON = answer("200 OK", b'{"quote": 0.085}', "Content-Type: application/json")
TLS = ssl.create_default_context(cafile=CERTIFICATE)


@asynccontextmanager
async def client_of(url: str, limits: ClientLimits = PATIENT) -> AsyncIterator[VeniceClient]:
    key, billing_key = SecretStr(KEY), SecretStr(BILLING_KEY)
    client = VeniceClient(url, key, billing_key=billing_key, limits=limits, tls=TLS)
    try:
        yield client
    finally:
        await client.close()


async def asked(
    behave: Behaviour, endpoint: Endpoint = Endpoint.QUOTE, limits: ClientLimits = PATIENT
) -> Reply:
    async with raw_server(behave) as server, client_of(server.url, limits) as client:
        return await client.send(endpoint, "POST", f"/video/{endpoint}", {"model": "m"})


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_tls() -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    return tls
