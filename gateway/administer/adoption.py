"""Jobs bought elsewhere, taken over: from then on followed, fetched and served like any other.

Nothing is bought by it, so no limit is asked; what the job cost is spent in the windows of the
moment it was bought. The same queue_id is never taken over twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.administer.jobs import find_job
from gateway.administer.office import Office
from gateway.administer.people import policy_name
from gateway.core.answers import is_id
from gateway.core.catalogue import Catalogue
from gateway.core.errors import Conflict, InvalidRequest, Issue, NotFound
from gateway.core.money import ZERO, Money
from gateway.core.pricing import JobFacts, job_facts
from gateway.core.validation import check_quote_body
from gateway.orders import new_job_id
from gateway.ports import AlreadyThere
from gateway.quotes import QuoteBook
from gateway.records import Adoption, Caller, Job, Key, User

AGE_DAYS_MAX = 30
"""Venice keeps no video that long; an older one would only be looked for in vain."""
DAY_MS = 86_400_000
QUOTE_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Bought:
    """What is said of a job that was bought elsewhere."""

    queue_id: str
    model: str
    user: str
    key: str | None = None
    """One of the user's keys, by id or name; the first one that opens if nothing is said."""
    price: Money | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What Venice's quote asks beside the model, where the price is to be asked for."""
    tags: tuple[str, ...] = ()
    created_at: int | None = None
    download_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The job, and whether it was taken over just now."""

    job: Job
    is_new: bool


async def adopt(office: Office, actor: str, bought: Bought) -> Adopted:
    """Take a job over; one that is here already stays as it is.

    `InvalidRequest` for what makes no sense, `NotFound` for an unknown user or key, `Conflict`
    where the job is somebody else's or a price cannot be asked for.
    """
    user = office.user(bought.user)
    if not is_id(bought.queue_id):
        raise InvalidRequest([Issue(("queue_id",), "It is no id of Venice's.")])
    if (known := await office.ledger.job(bought.queue_id)) is not None:
        return _known(known, bought)
    key = _key_of(office, user, bought.key)
    now = office.clock.now()
    created_at = _bought_at(bought.created_at, now)
    catalogue = _catalogue(office, bought.model)
    facts = _facts(catalogue, bought)
    price = await _price(office, bought, facts)
    adoption = Adoption(
        id=new_job_id(now),
        queue_id=bought.queue_id,
        caller=Caller(user, key),
        model=bought.model,
        price=price,
        created_at=created_at,
        tags=tuple(dict.fromkeys((*key.tags, *bought.tags))),
        policy=policy_name(office, user),
        policy_version=office.rules().version,
        seconds=None if facts is None else facts.seconds,
        resolution=None if facts is None else facts.resolution,
        download_url=bought.download_url,
    )
    try:
        job = await office.ledger.adopt(adoption, now, actor)
    except AlreadyThere:
        # Somebody else adopted it while its price was asked for.
        return _known(await find_job(office, bought.queue_id), bought)
    office.book.put(job)
    detail = {"queue_id": job.queue_id, "user": job.user, "model": job.model, "usd": job.settled}
    await office.audit(actor, "job.adopt", job.id, detail)
    return Adopted(job, is_new=True)


def _known(job: Job, bought: Bought) -> Adopted:
    if job.user != bought.user:
        raise Conflict(
            f"The job {bought.queue_id} is here already, as {job.user}'s. Nothing was changed."
        )
    return Adopted(job, is_new=False)


def _key_of(office: Office, user: User, wanted: str | None) -> Key:
    """The key on whose account the job goes."""
    now = office.clock.now()
    opening = [
        key
        for key in office.keyring.keys(user.name)
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
    ]
    if wanted is not None:
        opening = [key for key in opening if wanted in (key.id, key.name)]
    if not opening:
        which = "key that opens anything" if wanted is None else f"key {wanted} that opens anything"
        raise NotFound(f"{user.name} has no {which}. Make one with key create first.")
    return opening[0]


def _bought_at(said: int | None, now: int) -> int:
    at = now if said is None else said
    if at > now:
        raise InvalidRequest([Issue(("created_at",), "It is in the future.")])
    if now - at > AGE_DAYS_MAX * DAY_MS:
        what = f"It is more than {AGE_DAYS_MAX} days ago; Venice keeps no video so long."
        raise InvalidRequest([Issue(("created_at",), what)])
    return at


def _catalogue(office: Office, model: str) -> Catalogue | None:
    catalogue = office.read_catalogue()
    if catalogue is not None and model not in catalogue.models:
        what = f"Venice's catalogue has no video model {model}. GET /models lists them."
        raise InvalidRequest([Issue(("model",), what)])
    return catalogue


def _facts(catalogue: Catalogue | None, bought: Bought) -> JobFacts | None:
    """What the pricing inputs say of the job; None where there are none, or nothing to read by."""
    if catalogue is None or not bought.inputs:
        return None
    body = check_quote_body({"model": bought.model, **bought.inputs}, catalogue)
    return job_facts(body, catalogue.models[bought.model], reference_seconds_worst=0)


async def _price(office: Office, bought: Bought, facts: JobFacts | None) -> Money:
    """What the job cost: as said, else as Venice quotes it now, else nothing that is known."""
    if bought.price is not None:
        return bought.price
    if not bought.inputs:
        return ZERO
    quotes: QuoteBook | None = office.quotes
    if quotes is None or facts is None:
        raise Conflict(
            "Venice can be asked for a price only while the gateway runs. Start it, or say the "
            "price."
        )
    deadline = office.clock.monotonic() + QUOTE_SECONDS_MAX
    quoted = await quotes.quote(facts.quote_body, facts.quote_key, bought.user, deadline)
    return quoted.price
