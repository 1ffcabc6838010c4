"""What is said of each door in `openapi.json`: the form that checks what it is sent, and what it
answers. A door that is not in the table is described by its path alone, and a test asks for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.api import answers, details, own_answers, venice_schemas
from gateway.api.admin import (
    admin_keys,
    audit,
    grants,
    jobs,
    keys,
    ledger,
    notices,
    reconciliations,
    spending,
    teams,
    users,
    videos,
)
from gateway.api.forms import Form
from gateway.api.own import jobs as own_jobs
from gateway.api.own import usage as own_usage
from gateway.api.own import webhook as own_webhook

JSON = "application/json"
MP4 = "video/mp4"
TEXT = "text/plain"
EVENTS = "text/event-stream"
ADMIN = "/gateway/v1/admin"
OWN = "/gateway/v1"
VENICE = "/api/v1"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be known of one method of one door."""

    body: type[Form] | Schema | None = None
    query: type[Form] | None = None
    answer: Any = None
    """The type of the answer in JSON, or its schema; None where there is none, or a list's."""
    rows: tuple[str, Any] | None = None
    """Of a list: the name its rows come under, and their type."""
    statuses: tuple[int, ...] = (200,)
    """Of success."""
    media: tuple[str, ...] = (JSON,)
    conditions: tuple[str, ...] = ()
    """Header fields of a request that decide whether, or what of it, is answered."""
    has_tag: bool = False
    """Whether success has an `ETag`."""


_OPENAPI: Schema = {
    "type": "object",
    "properties": {
        "openapi": {"type": "string"},
        "info": {"type": "object"},
        "paths": {"type": "object"},
    },
    "required": ["openapi", "info", "paths"],
}
_SENT_AS_ASKED = ("Range", "If-Range", "If-Match", "If-None-Match")
"""Of a request for a video."""

SAID: Mapping[tuple[str, str], Said] = {
    ("POST", f"{VENICE}/video/quote"): Said(venice_schemas.PRICED, answer=venice_schemas.QUOTE),
    ("POST", f"{VENICE}/video/queue"): Said(venice_schemas.ORDER, answer=venice_schemas.QUEUED),
    ("POST", f"{VENICE}/video/retrieve"): Said(
        venice_schemas.IDS,
        answer=venice_schemas.POLLED,
        media=(JSON, MP4),
    ),
    ("POST", f"{VENICE}/video/complete"): Said(venice_schemas.IDS, answer=venice_schemas.COMPLETED),
    ("GET", f"{VENICE}/models"): Said(answer=venice_schemas.MODELS),
    ("GET", f"{VENICE}/billing/balance"): Said(answer=venice_schemas.BALANCE),
    ("GET", f"{VENICE}/api_keys/rate_limits"): Said(answer=venice_schemas.RATE_LIMITS),
    ("GET", f"{OWN}/me"): Said(answer=own_answers.MeAnswer),
    ("GET", f"{OWN}/me/webhook"): Said(answer=details.WebhookAnswer),
    ("PUT", f"{OWN}/me/webhook"): Said(own_webhook.NewWebhook, answer=details.NewWebhookAnswer),
    ("DELETE", f"{OWN}/me/webhook"): Said(statuses=(204,)),
    ("GET", f"{OWN}/usage"): Said(query=own_usage.Period, answer=own_answers.UsageAnswer),
    ("GET", f"{OWN}/refusals"): Said(
        query=own_usage.RefusalsPage, rows=("refusals", answers.RefusalAnswer)
    ),
    ("GET", f"{OWN}/jobs"): Said(query=own_jobs.JobsPage, rows=("jobs", answers.JobAnswer)),
    ("GET", f"{OWN}/jobs/{{id}}"): Said(answer=details.ReceiptAnswer),
    ("GET", f"{OWN}/jobs/{{id}}/events"): Said(media=(EVENTS,)),
    ("POST", f"{OWN}/jobs/{{id}}/links"): Said(
        own_jobs.NewLink, answer=details.LinkAnswer, statuses=(201,)
    ),
    ("POST", f"{OWN}/dry-run"): Said(venice_schemas.ORDER, answer=own_answers.DryRunAnswer),
    ("GET", f"{OWN}/videos/{{id}}"): Said(
        statuses=(200, 206), media=(MP4,), conditions=_SENT_AS_ASKED, has_tag=True
    ),
    ("GET", f"{OWN}/media/{{token}}"): Said(
        statuses=(200, 206), media=(MP4,), conditions=_SENT_AS_ASKED, has_tag=True
    ),
    ("DELETE", f"{OWN}/media/{{token}}"): Said(statuses=(204,)),
    ("GET", f"{OWN}/openapi.json"): Said(answer=_OPENAPI),
    ("GET", f"{ADMIN}/users"): Said(query=users.Which, rows=("users", answers.UserAnswer)),
    ("POST", f"{ADMIN}/users"): Said(users.NewUser, answer=answers.UserAnswer, statuses=(201,)),
    ("GET", f"{ADMIN}/users/{{name}}"): Said(answer=details.UserWithKeys, has_tag=True),
    ("PATCH", f"{ADMIN}/users/{{name}}"): Said(
        users.UserChanges, answer=answers.UserAnswer, conditions=("If-Match",), has_tag=True
    ),
    ("GET", f"{ADMIN}/users/{{name}}/policy"): Said(answer=details.UserPolicyAnswer),
    ("GET", f"{ADMIN}/teams"): Said(query=teams.Which, rows=("teams", answers.TeamAnswer)),
    ("GET", f"{ADMIN}/teams/{{name}}"): Said(answer=details.TeamWithWindows),
    ("GET", f"{ADMIN}/keys"): Said(query=keys.Which, rows=("keys", answers.KeyAnswer)),
    ("POST", f"{ADMIN}/keys"): Said(keys.NewKey, answer=details.NewKeyAnswer, statuses=(201,)),
    ("GET", f"{ADMIN}/keys/{{id}}"): Said(answer=answers.KeyAnswer, has_tag=True),
    ("PATCH", f"{ADMIN}/keys/{{id}}"): Said(
        keys.KeyChanges, answer=answers.KeyAnswer, conditions=("If-Match",), has_tag=True
    ),
    ("POST", f"{ADMIN}/keys/{{id}}/revoke"): Said(answer=answers.KeyAnswer),
    ("POST", f"{ADMIN}/keys/{{id}}/rotate"): Said(
        keys.Rotation, answer=details.RotatedKeyAnswer, statuses=(201,)
    ),
    ("GET", f"{ADMIN}/grants"): Said(query=grants.Which, rows=("grants", answers.GrantAnswer)),
    ("POST", f"{ADMIN}/grants"): Said(grants.NewGrant, answer=answers.GrantAnswer, statuses=(201,)),
    ("POST", f"{ADMIN}/grants/{{id}}/revoke"): Said(answer=answers.GrantAnswer),
    ("GET", f"{ADMIN}/jobs"): Said(query=jobs.Which, rows=("jobs", answers.JobAnswer)),
    ("POST", f"{ADMIN}/jobs/adopt"): Said(
        jobs.Elsewhere, answer=details.AdoptedJobAnswer, statuses=(200, 201)
    ),
    ("GET", f"{ADMIN}/jobs/{{id}}"): Said(answer=details.JobWithEntries),
    ("POST", f"{ADMIN}/jobs/{{id}}/resolve"): Said(jobs.Decision, answer=details.JobWithEntries),
    ("POST", f"{ADMIN}/jobs/{{id}}/refetch"): Said(jobs.Reason, answer=details.JobWithEntries),
    ("GET", f"{ADMIN}/ledger"): Said(answer=details.LedgerAnswer),
    ("GET", f"{ADMIN}/ledger/entries"): Said(
        query=ledger.EntriesPage, rows=("entries", answers.EntryAnswer)
    ),
    ("GET", f"{ADMIN}/ledger/verification"): Said(answer=details.VerificationAnswer),
    ("POST", f"{ADMIN}/ledger/repair"): Said(ledger.Repair, answer=details.RepairAnswer),
    ("GET", f"{ADMIN}/usage"): Said(
        query=ledger.SpendingQuestion, rows=("usage", details.SpendAnswer)
    ),
    ("GET", f"{ADMIN}/videos"): Said(query=videos.Which, rows=("videos", answers.VideoAnswer)),
    ("GET", f"{ADMIN}/videos/totals"): Said(answer=details.VideoTotalsAnswer),
    ("GET", f"{ADMIN}/videos/verification"): Said(answer=details.VideoProofAnswer),
    ("POST", f"{ADMIN}/videos/purge"): Said(videos.Purge, answer=details.PurgeAnswer),
    ("GET", f"{ADMIN}/notices"): Said(
        query=notices.Which, rows=("notices", answers.DeliveryAnswer)
    ),
    ("POST", f"{ADMIN}/notices/test"): Said(
        notices.To, answer=details.NoticeAnswer, statuses=(201,)
    ),
    ("GET", f"{ADMIN}/notices/{{id}}"): Said(answer=details.NoticeAnswer),
    ("POST", f"{ADMIN}/notices/{{id}}/redeliver"): Said(notices.To, answer=details.NoticeAnswer),
    ("GET", f"{ADMIN}/audit"): Said(query=audit.Page, rows=("audit", answers.AuditAnswer)),
    ("GET", f"{ADMIN}/reconciliations"): Said(
        query=reconciliations.RunsPage, answer=reconciliations.RunsAnswer
    ),
    ("POST", f"{ADMIN}/reconciliations"): Said(
        reconciliations.NewRun, answer=reconciliations.MadeRunAnswer, statuses=(201,)
    ),
    ("GET", f"{ADMIN}/reconciliations/{{id}}"): Said(answer=reconciliations.RunAnswer),
    ("GET", f"{ADMIN}/spending"): Said(answer=details.SpendingAnswer),
    ("POST", f"{ADMIN}/spending"): Said(spending.Switch, answer=details.SpendingAnswer),
    ("GET", f"{ADMIN}/admin-keys"): Said(
        query=admin_keys.Which, rows=("admin_keys", answers.AdminKeyAnswer)
    ),
    ("POST", f"{ADMIN}/admin-keys"): Said(
        admin_keys.NewAdminKey, answer=details.NewAdminKeyAnswer, statuses=(201,)
    ),
    ("POST", f"{ADMIN}/admin-keys/reset"): Said(answer=details.ResetAnswer),
    ("POST", f"{ADMIN}/admin-keys/{{name}}/revoke"): Said(answer=answers.AdminKeyAnswer),
    ("GET", f"{ADMIN}/policies"): Said(answer=details.RulesAnswer),
    ("POST", f"{ADMIN}/policies/reload"): Said(answer=details.PoliciesAnswer),
    ("GET", f"{ADMIN}/upstream"): Said(answer=details.UpstreamAnswer),
    ("GET", "/livez"): Said(media=(TEXT,)),
    ("GET", "/readyz"): Said(media=(TEXT,)),
    ("GET", "/metrics"): Said(media=(TEXT,)),
}
OPEN = frozenset({f"{OWN}/media/{{token}}", f"{OWN}/openapi.json", "/livez", "/readyz", "/metrics"})
"""Paths that ask for no key."""
