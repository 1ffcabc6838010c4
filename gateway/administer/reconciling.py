"""Comparing with Venice's bill, as people and the nightly chore ask for it; what the runs found.

A database that was put back from a backup may buy again once a run shows that it lacks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.administer.office import Office
from gateway.core.errors import InvalidRequest, Issue, NotFound
from gateway.evidence import ACTOR
from gateway.moments import read_moment, rfc3339
from gateway.records import RESTORED, SPENDING_WAITS, Reconciliation


@dataclass(frozen=True, slots=True)
class Ran:
    """A run, and what it meant for spending that waited after a restore; None where none did."""

    run: Reconciliation
    spending: str | None = None


async def run(office: Office, actor: str, since: int | None = None) -> Ran:
    """Compare, put right, and let orders in again where a restored database lacks nothing."""
    if since is not None and since > office.clock.now():
        raise InvalidRequest([Issue(("since",), "This is yet to come.")])
    office.rules()
    restored_at = await _restored_at(office)
    covering = None
    if restored_at is not None:
        # From the last order that the backup has: those after it are what it may lack.
        covering = await office.reconciler.kept.sent_before(restored_at) or 0
    found = await office.reconciler.run(actor, since, covering=covering)
    detail = {"run": found.number, "drift_usd": str(found.drift), **found.counts}
    await office.audit(actor, "reconciliation.run", str(found.number), detail)
    if restored_at is None:
        return Ran(found)
    return Ran(found, await _let_in_again(office, found, restored_at))


async def page(
    office: Office, before: int | None, limit: int
) -> tuple[list[Reconciliation], int | None]:
    """Runs older than a number, and the number from which the next page goes on, if any."""
    runs = await office.reconciler.kept.page(before, limit)
    return runs, runs[-1].number if len(runs) == limit else None


async def find(office: Office, number: int) -> Reconciliation:
    """One run, or `NotFound`."""
    found = await office.reconciler.kept.find(number)
    if found is None:
        raise NotFound(f"There is no reconciliation {number}.")
    return found


async def _restored_at(office: Office) -> int | None:
    """When the database was put back from a backup, while spending waits for that."""
    mark = await office.ledger.mark(SPENDING_WAITS)
    if mark is None or not mark.startswith(RESTORED):
        return None
    return read_moment(mark.removeprefix(RESTORED))


async def _let_in_again(office: Office, found: Reconciliation, restored_at: int) -> str:
    """Lift the wait after a restore, or say why not."""
    why = _what_is_lacking(office, found, restored_at)
    if why is not None:
        return f"still waits: {why}"
    await office.spending.resume()
    detail = {"why": f"reconciliation {found.number} shows that the backup lacks nothing"}
    await office.audit(ACTOR, "spending.resume", "spending", detail)
    return "resumed: the bill shows nothing that this database lacks"


def _what_is_lacking(office: Office, found: Reconciliation, restored_at: int) -> str | None:
    if not found.is_complete:
        return "Venice's bill was not read to its end. Run it again."
    theirs = found.counts.get("theirs_only", 0)
    if theirs:
        return (
            f"{theirs} charges on Venice's bill since the backup are no job of this database. They "
            "count in no budget; see them in the run, then `spending resume --why TEXT`."
        )
    covers_at = restored_at + office.rulebook.in_doubt.release_after
    if found.until < covers_at:
        return (
            "the bill may not show yet what was bought just before the restore. Run it again "
            f"after {rfc3339(covers_at)}, or `spending resume --why TEXT`."
        )
    return None
