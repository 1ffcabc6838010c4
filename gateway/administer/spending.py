"""The switch of all spending, in people's hands, and the proof that throws it by itself."""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.core.errors import Conflict
from gateway.ports import Unrepairable
from gateway.records import Verification


async def stop(office: Office, actor: str, why: str) -> None:
    """Take no new orders until somebody says so; running jobs and videos are unaffected."""
    await office.spending.halt(f"stopped by {actor}: {why}")
    await office.audit(actor, "spending.stop", "spending", {"why": why})


async def resume(office: Office, actor: str, why: str) -> None:
    """Take orders again, whatever had stopped them."""
    stopped = office.spending.stopped
    await office.spending.resume()
    detail = {"why": why, "was_stopped_because": stopped}
    await office.audit(actor, "spending.resume", "spending", detail)


async def repair_ledger(office: Office, actor: str, why: str) -> tuple[Verification, int]:
    """Derive the balances that differ anew; the proof of it, and how many there were.

    Spending stays stopped until somebody resumes it. `Conflict` where nothing differs, or where the
    entries themselves do not add up: no sum can be trusted then.
    """
    before = await verify_ledger(office)
    if before.is_sound:
        raise Conflict("Every balance is what its entries say: there is nothing to repair.")
    try:
        repaired = await office.ledger.repair()
    except Unrepairable as error:
        raise Conflict(
            f"Nothing was repaired: {error}. What entries say is evidence and is not changed; "
            "restore a backup, and compare with Venice's bill."
        ) from error
    detail = {"why": why, "balances": repaired, "drift_usd": before.drift}
    await office.audit(actor, "ledger.repair", "ledger", {**detail, "problems": before.problems})
    return await verify_ledger(office), repaired


async def verify_ledger(office: Office) -> Verification:
    """Re-derive every balance; a difference stops spending."""
    found = await office.ledger.verify()
    if not found.is_sound:
        await office.spending.distrust(found)
    return found
