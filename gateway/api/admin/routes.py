"""The doors of administration by name; `api/routes.py` puts them on the one page of all doors.

None of them asks for a key: `guard.py` stands before them all.
"""

from __future__ import annotations

from starlette.routing import Route

from gateway.api.admin import (
    admin_keys,
    audit,
    grants,
    jobs,
    keys,
    ledger,
    notices,
    policies,
    reconciliations,
    spending,
    teams,
    upstream,
    users,
    videos,
)
from gateway.api.admin.guard import PREFIX

DOORS: dict[str, Route] = {
    "admin_users": Route(f"{PREFIX}/users", users.users, methods=["GET", "POST"]),
    "admin_user": Route(f"{PREFIX}/users/{{name}}", users.user, methods=["GET", "PATCH"]),
    "admin_user_policy": Route(f"{PREFIX}/users/{{name}}/policy", users.user_policy),
    "admin_teams": Route(f"{PREFIX}/teams", teams.teams),
    "admin_team": Route(f"{PREFIX}/teams/{{name}}", teams.team),
    "admin_keys": Route(f"{PREFIX}/keys", keys.keys, methods=["GET", "POST"]),
    "admin_key": Route(f"{PREFIX}/keys/{{id}}", keys.key, methods=["GET", "PATCH"]),
    "admin_key_revoke": Route(f"{PREFIX}/keys/{{id}}/revoke", keys.revoke, methods=["POST"]),
    "admin_key_rotate": Route(f"{PREFIX}/keys/{{id}}/rotate", keys.rotate, methods=["POST"]),
    "admin_grants": Route(f"{PREFIX}/grants", grants.grants, methods=["GET", "POST"]),
    "admin_grant_revoke": Route(f"{PREFIX}/grants/{{id}}/revoke", grants.revoke, methods=["POST"]),
    "admin_jobs": Route(f"{PREFIX}/jobs", jobs.jobs),
    "admin_jobs_adopt": Route(f"{PREFIX}/jobs/adopt", jobs.adoption, methods=["POST"]),
    "admin_job": Route(f"{PREFIX}/jobs/{{id}}", jobs.job),
    "admin_job_resolve": Route(f"{PREFIX}/jobs/{{id}}/resolve", jobs.resolve, methods=["POST"]),
    "admin_job_refetch": Route(f"{PREFIX}/jobs/{{id}}/refetch", jobs.refetch, methods=["POST"]),
    "admin_ledger": Route(f"{PREFIX}/ledger", ledger.ledger),
    "admin_ledger_entries": Route(f"{PREFIX}/ledger/entries", ledger.entries),
    "admin_ledger_verification": Route(f"{PREFIX}/ledger/verification", ledger.verification),
    "admin_reconciliations": Route(
        f"{PREFIX}/reconciliations", reconciliations.reconciliations, methods=["GET", "POST"]
    ),
    "admin_reconciliation": Route(
        f"{PREFIX}/reconciliations/{{id}}", reconciliations.reconciliation
    ),
    "admin_ledger_repair": Route(f"{PREFIX}/ledger/repair", ledger.repair, methods=["POST"]),
    "admin_videos": Route(f"{PREFIX}/videos", videos.videos),
    "admin_videos_totals": Route(f"{PREFIX}/videos/totals", videos.totals),
    "admin_videos_verification": Route(f"{PREFIX}/videos/verification", videos.verification),
    "admin_videos_purge": Route(f"{PREFIX}/videos/purge", videos.purge, methods=["POST"]),
    "admin_notices": Route(f"{PREFIX}/notices", notices.notices),
    "admin_notices_test": Route(f"{PREFIX}/notices/test", notices.send_test, methods=["POST"]),
    "admin_notice": Route(f"{PREFIX}/notices/{{id}}", notices.notice),
    "admin_notice_redeliver": Route(
        f"{PREFIX}/notices/{{id}}/redeliver", notices.redeliver, methods=["POST"]
    ),
    "admin_audit": Route(f"{PREFIX}/audit", audit.audit),
    "admin_spending": Route(f"{PREFIX}/spending", spending.spending, methods=["GET", "POST"]),
    "admin_admin_keys": Route(
        f"{PREFIX}/admin-keys", admin_keys.admin_keys, methods=["GET", "POST"]
    ),
    "admin_admin_key_reset": Route(
        f"{PREFIX}/admin-keys/reset", admin_keys.reset, methods=["POST"]
    ),
    "admin_admin_key_revoke": Route(
        f"{PREFIX}/admin-keys/{{name}}/revoke", admin_keys.revoke, methods=["POST"]
    ),
    "admin_usage": Route(f"{PREFIX}/usage", ledger.usage),
    "admin_policies": Route(f"{PREFIX}/policies", policies.policies),
    "admin_policies_reload": Route(f"{PREFIX}/policies/reload", policies.reload, methods=["POST"]),
    "admin_upstream": Route(f"{PREFIX}/upstream", upstream.upstream),
}
