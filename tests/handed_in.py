"""`ports.Notices` that only remembers what was handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.notify import NoticeEvent


@dataclass(frozen=True, slots=True)
class News:
    """One thing that was told."""

    event: NoticeEvent
    key: str
    subject: str
    team: str | None
    user: str | None
    facts: Mapping[str, Any]


@dataclass
class HandedIn:
    """Everything that was told, in order."""

    news: list[News] = field(default_factory=list)

    def post(
        self,
        event: NoticeEvent,
        key: str,
        subject: str,
        *,
        team: str | None = None,
        user: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """See `ports.Notices.post`."""
        self.news.append(News(event, key, subject, team, user, facts or {}))

    async def kept(self) -> None:
        """Nothing here is."""
