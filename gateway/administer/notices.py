"""What was told to whom, telling it again, and trying whether a receiver hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.administer.office import Office
from gateway.core.errors import Conflict, NotFound
from gateway.core.notices import TEST, Attempt, Delivery, Notice
from gateway.noticing import new_id

RECEIVERS_MAX = 1_000
"""Of one notice: more than any policy names."""


@dataclass(frozen=True, slots=True)
class Told:
    """One notice, with every delivery and its tries."""

    notice: Notice
    deliveries: Sequence[tuple[Delivery, Sequence[Attempt]]]


async def find_notice(office: Office, notice_id: str) -> Told:
    """A notice by its id; `NotFound` where there is none, or it was let go."""
    found = await office.outbox.deliveries(notice=notice_id, limit=RECEIVERS_MAX)
    if not found:
        raise NotFound(f"There is no notice {notice_id}; they are kept for 30 days.")
    told = [(each, await office.outbox.attempts(each.number)) for each in reversed(found)]
    return Told(found[0].notice, told)


async def redeliver(office: Office, actor: str, notice_id: str, receiver: str | None) -> Told:
    """Tell a notice again, to one receiver or to all that it went to, whatever came of it."""
    count = await office.outbox.redeliver(notice_id, receiver, office.clock.now())
    told = await find_notice(office, notice_id)
    if not count:
        raise NotFound(f"The notice {notice_id} was never for {receiver}.")
    await office.audit(actor, "notice.redeliver", notice_id, {"to": receiver})
    return told


async def send_test(office: Office, actor: str, receiver: str | None) -> Told:
    """Send a notice of no consequence to one receiver of the policies, or to all of them."""
    # A conflict that says what is wrong with the policies reads better than their receivers' lack.
    assert office.rulebook is not None
    names = office.receivers.names()
    if receiver is not None and receiver not in names:
        known = f" They name {', '.join(names)}." if names else ""
        raise NotFound(f"The policies name no receiver {receiver}.{known}")
    if not names:
        raise Conflict("The policies name no receiver: add one under `notify`.")
    notice_id, at = new_id(), office.clock.now()
    facts = {"why": f"{actor} tries whether this arrives"}
    notice = Notice(notice_id, f"{TEST}/{notice_id}", TEST, "venice-gateway", at, facts=facts)
    await office.outbox.post([(notice, [receiver] if receiver else names)], {})
    await office.audit(actor, "notice.test", notice_id, {"to": receiver})
    return await find_notice(office, notice_id)
