"""The questions to Venice that cost nothing: its catalogue, and what a key may do.

Nothing here orders, and nothing here prints: a key goes into one header and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from gateway.setting_values import is_loopback

ANSWER_SECONDS_MAX = 15.0
"""Somebody waits for this on a terminal."""
MODELS = "/models?type=video"
RATE_LIMITS = "/api_keys/rate_limits"
BALANCE = "/billing/balance"


@dataclass(frozen=True)
class Told:
    """What came back; `status` is None where nothing did, and then `trouble` says why."""

    status: int | None
    document: Any = None
    """The JSON document, amounts as the text that was written; None where there is none."""
    date: datetime | None = None
    """Venice's clock."""
    trouble: str = ""

    @property
    def is_refusal(self) -> bool:
        """Whether Venice knows the question and refuses the key."""
        return self.status in (401, 403)

    @property
    def models(self) -> list[Any] | None:
        """The listed models; None where this is no catalogue."""
        return self._list(self.document, "data")

    @property
    def rights(self) -> dict[str, Any] | None:
        """What a key may do; None where this is no such answer."""
        data = self.document.get("data") if isinstance(self.document, dict) else None
        return data if isinstance(data, dict) else None

    @staticmethod
    def _list(document: Any, name: str) -> list[Any] | None:
        found = document.get(name) if isinstance(document, dict) else None
        return found if isinstance(found, list) else None


def ask(upstream_url: str, path: str, key: SecretStr | None) -> Told:
    """Ask once. It never raises what the network did."""
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    host = urlsplit(upstream_url).hostname or ""
    try:
        # No proxy reaches this machine's own loopback; everywhere else the environment decides.
        with httpx.Client(timeout=ANSWER_SECONDS_MAX, trust_env=not is_loopback(host)) as client:
            answer = client.get(upstream_url + path, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Told(None, trouble=str(error) or type(error).__name__)
    return Told(answer.status_code, _document(answer), _date(answer.headers.get("date")))


def _document(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.content, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _date(text: str | None) -> datetime | None:
    try:
        found = None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
    # RFC 9110 dates are GMT; one that says nothing of a zone cannot be compared.
    return found if found is not None and found.tzinfo is not None else None
