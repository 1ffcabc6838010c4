"""The switch of all spending, in people's hands, and the proof that throws it by itself."""

from __future__ import annotations

from gateway.administer.office import Office
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


async def verify_ledger(office: Office) -> Verification:
    """Re-derive every balance; a difference stops spending."""
    found = await office.ledger.verify()
    if not found.is_sound:
        await office.spending.distrust(found)
    return found
