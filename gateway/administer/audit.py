"""What administration did, newest first. It is read here, never changed."""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.records import AuditRow


async def page(
    office: Office,
    before: int | None,
    limit: int,
    *,
    actor: str | None = None,
    act: str | None = None,
    target: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> tuple[list[AuditRow], int | None]:
    """Acts older than a number, and the number from which the next page goes on, if any."""
    rows = await office.ledger.audits(
        before, limit, actor=actor, act=act, target=target, since=since, until=until
    )
    return rows, rows[-1].number if len(rows) == limit else None
