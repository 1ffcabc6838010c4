"""``POST /video/queue``: accepts and bills a job in one step; the charge is what it really is."""

from typing import Any

from gateway.simulator.answers import Answer, error_answer, invalid_answer, json_answer
from gateway.simulator.bodies import QUEUE, check_fields
from gateway.simulator.calls import Call
from gateway.simulator.catalogue import VideoModel
from gateway.simulator.constraints import find_model, read_queue
from gateway.simulator.doors.body import NOT_AN_OBJECT
from gateway.simulator.front import Simulator
from gateway.simulator.jobs import Purchase
from gateway.simulator.money import micro_from_usd
from gateway.simulator.prices import price

LINK_PATH = "/private/"
# Venice screens media for faces; here a face is an address that says so.
FACE_MARK = "face"
FACE_FIELDS = {
    "image_url": "image",
    "end_image_url": "end_image",
    "reference_image_urls": "reference_image",
    "video_url": "video",
    "reference_video_urls": "reference_video",
}
CONSENT_FLAGS = (
    "confirmed_terms_and_privacy",
    "confirmed_legal_right",
    "confirmed_screening_acknowledged",
)


def queue(simulator: Simulator, call: Call) -> Answer:
    """A queue id, and for private models a download link that is told this once."""
    if call.body is None:
        return invalid_answer([NOT_AN_OBJECT])
    issues = check_fields(call.body, QUEUE, is_closed=False)
    if issues:
        return invalid_answer(issues)
    model, issues = find_model(simulator.catalogue, call.body)
    if model is None:
        return invalid_answer(issues)
    order, issues = read_queue(model, call.body)
    if order is None:
        return invalid_answer(issues)
    roles = _unconsented_faces(model, call.body)
    if roles:
        return json_answer(_needs_consent(roles), 409)
    purchase = Purchase(
        model=model,
        prompt_sha256=call.prompt_sha256,
        usd=price(model, order),
        video_seconds=order.output_seconds,
        aspect_ratio=call.body.get("aspect_ratio"),
    )
    return _buy(simulator, call, purchase)


def _buy(simulator: Simulator, call: Call, purchase: Purchase) -> Answer:
    now = simulator.clock()
    if simulator.jobs.balance(now) < micro_from_usd(purchase.usd):
        return error_answer(402, "Insufficient USD or Diem balance", "INSUFFICIENT_BALANCE")
    accepted = simulator.jobs.accept(purchase, simulator.faults.fate(call), now)
    call.queue_id = accepted.queue_id
    body = {"model": purchase.model.id, "queue_id": accepted.queue_id}
    if accepted.link_secret is not None:
        origin = simulator.settings.public_url or str(call.request.base_url)
        body["download_url"] = origin.rstrip("/") + LINK_PATH + accepted.link_secret
    return json_answer(body)


def _unconsented_faces(model: VideoModel, body: dict[str, Any]) -> list[str]:
    if model.consent is None:
        return []
    given = body.get("consents", {}).get(model.consent)
    if isinstance(given, dict) and all(given.get(flag) is True for flag in CONSENT_FLAGS):
        return []
    return [role for name, role in FACE_FIELDS.items() if _shows_face(body.get(name))]


def _shows_face(value: Any) -> bool:
    urls = value if isinstance(value, list) else [value]
    return any(url and url.startswith("http") and FACE_MARK in url for url in urls)


def _needs_consent(roles: list[str]) -> dict[str, Any]:
    return {
        "error": {
            "code": "needs_consent",
            "message": "Additional consent is required before this request can be queued.",
        },
        "consent_flow": "seedance",
        "face_media_roles": roles,
        "consent": {
            "consent_version": "2026-06-01",
            "policy_text": "I have the right to use the people shown in this media.",
        },
        "docs_url": "https://docs.venice.ai",
    }
