"""What every administrative verb works with, and what they all do alike: audit, and refuse names
that the rules do not know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.book import JobBook
from gateway.core.catalogue import Catalogue
from gateway.core.errors import Conflict, InvalidRequest, Issue, NotFound
from gateway.core.notation import duration_ms
from gateway.core.policy import Rulebook
from gateway.keyring import AdminKeys, Keyring
from gateway.metrics import Metrics
from gateway.moments import read_moment
from gateway.policies import BadPolicy, LoadedRules
from gateway.ports import Clock, Ledger, Outbox, VideoRecords, VideoStore
from gateway.quotes import QuoteBook
from gateway.receivers import Receivers
from gateway.reconcile import Reconciler
from gateway.records import Key, User
from gateway.spending import Spending
from gateway.way_to_venice import WayToVenice

NAMES_LISTED_MAX = 20
"""A refusal lists what is known, but stays a sentence."""


@dataclass(frozen=True)
class Office:
    """The desk at which administration is done, whether the gateway runs or not."""

    ledger: Ledger
    keyring: Keyring
    admin_keys: AdminKeys
    book: JobBook
    store: VideoStore
    video_records: VideoRecords
    spending: Spending
    outbox: Outbox
    receivers: Receivers
    reconciler: Reconciler
    metrics: Metrics
    clock: Clock
    read_rules: Callable[[], LoadedRules]
    reload_rules: Callable[[], LoadedRules]
    read_catalogue: Callable[[], Catalogue | None]
    """Venice's models as last read; None where nobody ever read them."""
    quotes: QuoteBook | None
    """None where no gateway runs: then Venice cannot be asked."""
    way: WayToVenice | None
    """None where no gateway runs: then nobody goes it."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from a look at a thing to the end of its change."""

    def rules(self) -> LoadedRules:
        """The rules in force; `Conflict` with the reasons where the files cannot be used."""
        try:
            return self.read_rules()
        except BadPolicy as error:
            raise Conflict(f"The policies cannot be used: {error}") from error

    @property
    def rulebook(self) -> Rulebook:
        """The rules in force, without where they came from."""
        return self.rules().rulebook

    async def audit(self, actor: str, act: str, target: str, detail: Mapping[str, Any]) -> None:
        """Keep what was done, by whom, to whom."""
        text = json.dumps(detail, default=str, ensure_ascii=False)
        await self.ledger.audit(
            at=self.clock.now(), actor=actor, act=act, target=target, detail=text
        )

    def user(self, name: str) -> User:
        """A user; `NotFound` where there is none of that name."""
        user = self.keyring.user(name)
        if user is None:
            raise NotFound(f"There is no user {name}.")
        return user

    def key(self, key_id: str) -> Key:
        """A key; `NotFound` where there is none of that id."""
        key = self.keyring.key(key_id)
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        return key

    def require_team(self, team: str | None) -> None:
        """`NotFound`, with the teams there are, for one that no policy file names."""
        if team is not None and team not in self.rulebook.teams:
            raise NotFound(f"There is no team {team}. {_known('teams', self.rulebook.teams)}")

    def require_policy(self, policy: str | None) -> None:
        """`NotFound`, with the policies there are, for one that no policy file has."""
        if policy is not None and policy not in self.rulebook.policies:
            known = _known("policies", self.rulebook.policies)
            raise NotFound(f"There is no policy {policy}. {known}")

    def moment(self, text: str, field: str) -> int:
        """`30d` from now, a date or a time, in Unix milliseconds; it must be yet to come."""
        now = self.clock.now()
        at = now + _later(text) if text[-1:] in "smhd" and text[:1].isdigit() else self._date(text)
        if at is None:
            what = f"{text!r} is neither a length of time like 30d nor a date like 2026-12-31."
            raise InvalidRequest([Issue((field,), what)])
        if at <= now:
            raise InvalidRequest([Issue((field,), f"{text} is in the past.")])
        return at

    def _date(self, text: str) -> int | None:
        try:
            return read_moment(text, self.rulebook.organization.calendar.timezone)
        except ValueError:
            return None


def _later(text: str) -> int:
    try:
        return duration_ms(text)
    except ValueError:
        return 0


def _known(what: str, names: Iterable[str]) -> str:
    found = sorted(names)
    if not found:
        return f"The policy files name no {what}."
    more = ", …" if len(found) > NAMES_LISTED_MAX else ""
    return f"Known {what}: {', '.join(found[:NAMES_LISTED_MAX])}{more}."
