"""Says when a budget passes a share that somebody wants to know of, and when it refuses.

Each is said once per window, as an event of the log and as a notice; nothing is refused or changed
here. What was said is kept in memory: a share that was reached before a restart is not reached
again, and the outbox keeps a notice of the same window once.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from gateway.core.budget import Limit, Passed, Scope, Standing, lasts_until
from gateway.core.notify import NoticeEvent
from gateway.ports import Clock, Notices
from gateway.records import Reserved

SAID_MAX = 20_000
"""Windows and shares remembered; what is over goes first."""
REFUSED = -1
"""Stands for a refusal where a share would stand."""

_log = structlog.get_logger(__name__)

Said = tuple[Scope, str, str, str, int]


class BudgetWatch:
    """Tells of budgets that fill up."""

    def __init__(self, clock: Clock, notices: Notices) -> None:
        self._clock = clock
        self._notices = notices
        self._said: dict[Said, int] = {}

    def reserved(self, held: Reserved) -> None:
        """Tell of the shares that a reservation lifted its windows to."""
        for passed in held.passed:
            if self._is_news(passed.limit, passed.percent, passed.until):
                self._tell_share(passed, held.job.team)

    def refused(self, standing: Standing, team: str | None) -> None:
        """Tell of a window that had no room for an order of somebody in `team`."""
        limit = standing.limit
        until = lasts_until(limit.window, standing.span, self._clock.now())
        if self._is_news(limit, REFUSED, until):
            facts = {"used_usd": str(standing.used), "limit_usd": str(standing.ceiling)}
            self._tell(NoticeEvent.BUDGET_EXCEEDED, limit, team, until, facts)

    def _tell_share(self, passed: Passed, team: str | None) -> None:
        facts: dict[str, str | int] = {
            "percent": passed.percent,
            "used_usd": str(passed.used),
            "limit_usd": str(passed.ceiling),
        }
        self._tell(NoticeEvent.BUDGET_THRESHOLD, passed.limit, team, passed.until, facts)

    def _tell(
        self,
        event: NoticeEvent,
        limit: Limit,
        team: str | None,
        until: int,
        facts: Mapping[str, str | int],
    ) -> None:
        names = _names(limit, team)
        _log.warning(str(event), **names, **facts)
        share = facts.get("percent", "")
        self._notices.post(
            event,
            f"{limit.scope}/{limit.id}/{limit.window}/{limit.models}/{until}/{share}",
            limit.name,
            team=names["team"],
            user=limit.id if limit.scope is Scope.USER else None,
            facts={**{name: value for name, value in names.items() if name != "team"}, **facts},
        )

    def _is_news(self, limit: Limit, share: int, until: int) -> bool:
        """Whether this was not said in this window yet; from now on it was."""
        said = (limit.scope, limit.id, limit.window, limit.models, share)
        now = self._clock.now()
        if self._said.get(said, 0) > now:
            return False
        if len(self._said) >= SAID_MAX:
            self._said = {known: end for known, end in self._said.items() if end > now}
        if len(self._said) < SAID_MAX:
            self._said[said] = until
        return True


def _names(limit: Limit, team: str | None) -> dict[str, str | None]:
    """Which budget it is; the organization's is no single team's."""
    return {
        "scope": limit.scope,
        "name": limit.name,
        "window": limit.window,
        "models": limit.models,
        "team": None if limit.scope is Scope.ORGANIZATION else team,
    }
