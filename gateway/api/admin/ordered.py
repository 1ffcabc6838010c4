"""How lists of jobs, and of their videos, are asked for alike: by what a job was ordered with."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.administer import Office
from gateway.api.forms import Moment, PageSize, Until
from gateway.api.listing import Listing
from gateway.core.job import State
from gateway.records import Job


class Ordered(Listing):
    """Which jobs by what they were ordered with, and from where on."""

    user: str | None = None
    team: str | None = None
    """That they were ordered for."""
    model: str | None = None
    key: str | None = None
    """The id of a key; those of the keys that it took the place of are among them."""
    since: Moment | None = None
    until: Until | None = None
    before: str | None = None
    limit: PageSize = 100


async def jobs_of(
    office: Office,
    which: Ordered,
    states: Sequence[State],
    *,
    delivered: bool | None = None,
    suspicious: bool | None = None,
) -> tuple[list[Job], str | None]:
    """A page of jobs, newest first, and the id from which the next goes on, if any.

    `NotFound` for a user or key that there is not.
    """
    if which.user is not None:
        office.user(which.user)
    key = None if which.key is None else office.key(which.key)
    found = await office.ledger.jobs(
        states=states,
        # A key has one user, by whom its jobs are found sooner.
        user=key.user if key is not None and which.user is None else which.user,
        team=which.team,
        model=which.model,
        key=None if key is None else key.counts_as,
        since=which.since,
        until=which.until,
        delivered=delivered,
        suspicious=suspicious,
        before=which.before,
        limit=which.limit,
    )
    return found, found[-1].id if len(found) == which.limit else None
