"""Asks every door that only tells something, for what is there: none is left out by oversight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from tests.gateway_process import GatewayProcess

OWN = "/gateway/v1"
ADMIN = f"{OWN}/admin"
CSV = "text/csv"

Known = Mapping[str, Sequence[str]]
"""Of each path with a parameter, what can stand for it."""


def admin_key(gateway: GatewayProcess) -> str:
    """The one that a new gateway makes for itself."""
    return (gateway.data_dir / "admin.key").read_text().strip()


def ask_every_door(gateway: GatewayProcess, known: Known) -> list[httpx.Response]:
    """An answer of each GET door for each thing that is known, as CSV too where there is one.

    Doors of administration are asked with the admin key, all others with the user's. A path that
    nothing is known for fails the test, and so does an answer that is no success.
    """
    keys = {True: admin_key(gateway), False: gateway.user_key}
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as http:
        paths = http.get(f"{OWN}/openapi.json").json()["paths"]
        doors = {path: each["get"] for path, each in paths.items() if "get" in each}
        answers = []
        for path, door in doors.items():
            for url, headers in _ways(path, door, known):
                key = {"authorization": f"Bearer {keys[path.startswith(ADMIN)]}"}
                answer = http.get(url, headers={**headers, **key})
                assert answer.status_code == 200, (url, answer.status_code, answer.text)
                is_csv = answer.headers["content-type"].startswith(CSV)
                assert is_csv == (url.endswith("?format=csv") or "accept" in headers), url
                answers.append(answer)
    return answers


def _ways(path: str, door: Any, known: Known) -> Iterator[tuple[str, dict[str, str]]]:
    """How a door is asked: its addresses, with header fields."""
    before, opening, rest = path.partition("{")
    if opening:
        assert known.get(path), f"nothing is known to ask {path} for"
        after = rest.partition("}")[2]
        for each in known[path]:
            yield f"{before}{each}{after}", {}
        return
    yield path, {}
    if CSV in door["responses"]["200"]["content"]:
        yield f"{path}?format=csv", {}
        yield path, {"accept": CSV}
