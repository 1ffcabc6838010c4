"""What administration did, newest first. It is read here, never changed."""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.records import Acts, AuditRow


async def page(
    office: Office, which: Acts, before: int | None, limit: int
) -> tuple[list[AuditRow], int | None]:
    """Acts older than a number, and the number from which the next page goes on, if any."""
    rows = await office.ledger.audits(which, before, limit)
    return rows, rows[-1].number if len(rows) == limit else None
