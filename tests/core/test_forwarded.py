"""Proxies are believed as far as they are trusted, and a client's own claims never."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.forwarded import HOPS_MAX, client_address, read_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("127.0.0.1"))
CLIENT = "203.0.113.7"


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("127.0.0.1", [CLIENT], CLIENT),
        ("10.1.2.3", [f"{CLIENT}, 10.0.0.9"], CLIENT),
        ("10.1.2.3", [CLIENT, "10.0.0.9"], CLIENT),
        ("::ffff:10.1.2.3", [CLIENT], CLIENT),
        ("2001:db8::5", ["2a00::1"], "2a00::1"),
        ("127.0.0.1", [f"{CLIENT}:4711"], CLIENT),
        ("127.0.0.1", ["[2a00::1]:4711"], "2a00::1"),
        # What the client itself wrote stands left of what a proxy saw.
        ("127.0.0.1", [f"1.2.3.4, {CLIENT}"], CLIENT),
        ("127.0.0.1", [f"10.0.0.1, {CLIENT}, 10.0.0.9"], CLIENT),
        # From a peer that is not trusted nothing counts.
        ("203.0.113.9", [CLIENT], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        # All trusted: the farthest of them is the client.
        ("127.0.0.1", ["10.0.0.4, 10.0.0.5"], "10.0.0.4"),
        # What cannot be read ends the chain at the last one that could.
        ("127.0.0.1", ["1.2.3.4, junk, 10.0.0.9"], "10.0.0.9"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        (None, [CLIENT], "unknown"),
        ("a socket", [CLIENT], "a socket"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(
    peer: str | None, chain: list[str], client: str
) -> None:
    assert client_address(peer, TRUSTED, x_forwarded_for=chain) == client


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ([f"for={CLIENT}"], CLIENT),
        ([f'for="{CLIENT}:80";proto=https;by=10.0.0.1'], CLIENT),
        (['proto=https;For="[2a00::1]:4711"'], "2a00::1"),
        ([f"for=1.2.3.4, for={CLIENT}", "for=10.0.0.9"], CLIENT),
        (["for=_hidden, for=10.0.0.9"], "10.0.0.9"),
        (["by=10.0.0.1"], "127.0.0.1"),
    ],
)
def test_the_standard_header_says_the_same(chain: list[str], client: str) -> None:
    assert client_address("127.0.0.1", TRUSTED, forwarded=chain) == client


def test_where_both_headers_disagree_the_client_sent_one_of_them() -> None:
    def told(forwarded: str) -> str:
        return client_address("127.0.0.1", TRUSTED, forwarded=[forwarded], x_forwarded_for=[CLIENT])

    assert told(f"for={CLIENT}") == CLIENT
    assert told("for=1.2.3.4") == "127.0.0.1"


def test_a_chain_is_read_no_farther_than_anybody_has_proxies() -> None:
    chain = ", ".join(["1.2.3.4", *["10.0.0.1"] * HOPS_MAX])
    assert client_address("127.0.0.1", TRUSTED, x_forwarded_for=[chain]) == "10.0.0.1"


@given(st.lists(st.text(max_size=30), max_size=3), st.lists(st.text(max_size=30), max_size=3))
def test_no_header_brings_anything_but_an_address(one: list[str], two: list[str]) -> None:
    found = client_address("127.0.0.1", TRUSTED, forwarded=one, x_forwarded_for=two)
    assert read_address(found) is not None
    assert client_address("203.0.113.9", TRUSTED, forwarded=one, x_forwarded_for=two) == (
        "203.0.113.9"
    )
