"""The dashboard *The shared key*: how near the one key is to its limits, and who waits for it."""

from __future__ import annotations

from grafana.vocabulary import (
    RANGE,
    RATE,
    Page,
    Panel,
    Query,
    Row,
    Step,
    metric,
    quantile,
    rate,
    rule,
)

LIMITED = 'class=~"queue|retrieve"'
LOOKS = metric("upstream_requests_total", 'endpoint="retrieve"')
NOT_OK = rule("upstream_requests:rate5m", 'outcome!="ok"')
NO_MODEL = 'label_replace(vector(0), "model", "(models)", "", "")'
"""Stands for all models that are open: a closed one has a series, the others have none."""
TOO_MANY = metric("upstream_requests_total", 'outcome=~"rate_limited|blocked"')

NOW = Row(
    "Now",
    [
        Panel(
            "Key blocked",
            "Does Venice refuse every call of the key just now?",
            "stat",
            "on",
            [Query(metric("key_blocked"), "blocked")],
            width=5,
            height=4,
            steps=[Step("red", 1)],
        ),
        Panel(
            "Failures left",
            "How many failures are left of those the gateway allows itself in 30 s?",
            "stat",
            "count",
            [Query(metric("failure_budget_remaining"))],
            width=5,
            height=4,
        ),
        Panel(
            "Waiting",
            "How many callers are held at the gate?",
            "stat",
            "count",
            [Query(f"sum by (instance) ({metric('gate_waiting')})")],
            width=5,
            height=4,
            steps=[Step("orange", 20)],
        ),
        Panel(
            "Looks per job",
            "How often is Venice asked about a job, the download included, in the range shown?",
            "stat",
            "calls",
            [
                Query(
                    f"sum(increase({LOOKS}[{RANGE}])) / clamp_min(sum(increase("
                    f"{metric('ready_to_stored_seconds_count')}[{RANGE}])), 1)"
                )
            ],
            width=5,
            height=4,
            steps=[Step("orange", 6), Step("red", 12)],
        ),
        Panel(
            "Closed models",
            "For how many models does Venice not take the key just now?",
            "stat",
            "count",
            [Query(f"count({metric('model_closed')}) or vector(0)")],
            width=4,
            height=4,
            steps=[Step("orange", 1)],
        ),
    ],
)
GATE = Row(
    "The gate",
    [
        Panel(
            "Calls that may go",
            "How much of this minute's limit is left?",
            "lines",
            "calls",
            [
                Query(metric("gate_tokens", LIMITED), "{{class}}"),
                Query(metric("gate_limit", LIMITED), "limit, {{class}}"),
            ],
        ),
        Panel(
            "Waiting by class",
            "Who is held, for which kind of call?",
            "stacked",
            "count",
            [Query(metric("gate_waiting"), "{{class}}")],
        ),
        Panel(
            "Failure budget",
            "How near is Venice to blocking the key?",
            "lines",
            "count",
            [
                Query(metric("failure_budget_remaining"), "left"),
                Query(metric("failure_budget_limit"), "all"),
            ],
        ),
    ],
)
QUESTIONS = Row(
    "Questions about videos",
    [
        Panel(
            "Wait for a turn",
            "How long do calls wait at the gate?",
            "lines",
            "seconds",
            [Query(quantile(0.95, "gate_wait_seconds", "class"), "95 %, {{class}}")],
        ),
        Panel(
            "Price of a look",
            "How short are questions? Seconds of waiting that one must save to be asked now.",
            "lines",
            "seconds",
            [Query(metric("look_price_seconds"))],
        ),
        Panel(
            "Looks until stored",
            "How often is Venice asked about a video until it is here?",
            "lines",
            "calls",
            [
                Query(quantile(0.5, "looks_per_job"), "half of them"),
                Query(quantile(0.95, "looks_per_job"), "95 %"),
            ],
        ),
    ],
)
VENICE = Row(
    "What Venice answers",
    [
        Panel(
            "Calls by endpoint",
            "How much is asked?",
            "stacked",
            "per second",
            [Query(f"sum by (endpoint) ({rate('upstream_requests_total')})", "{{endpoint}}")],
        ),
        Panel(
            "What went wrong",
            "Which calls failed, and how?",
            "stacked",
            "per second",
            [
                Query(
                    f"sum by (endpoint, outcome) ({NOT_OK}) > 0",
                    "{{endpoint}}: {{outcome}}",
                )
            ],
        ),
        Panel(
            "429 from Venice",
            "Were we too fast, or blocked? The gate exists so that this stays at nothing.",
            "bars",
            "count",
            [
                Query(
                    f"sum by (outcome) (increase({TOO_MANY}[{RATE}]))",
                    "{{outcome}}",
                )
            ],
        ),
        Panel(
            "Sent again",
            "What is retried, and why?",
            "stacked",
            "per second",
            [
                Query(
                    f"sum by (endpoint, reason) ({rate('upstream_retries_total')})",
                    "{{endpoint}}: {{reason}}",
                )
            ],
        ),
        Panel(
            "Breakers",
            "Which endpoints are given a rest, and which models does Venice not open to the key?",
            "states",
            "on",
            [
                Query(metric("breaker_open"), "{{endpoint}}"),
                Query(f"{metric('model_closed')} or {NO_MODEL}", "{{model}}"),
            ],
        ),
        Panel(
            "Ready to stored",
            "How long from the news that a video is ready until it is here?",
            "lines",
            "seconds",
            [
                Query(quantile(0.5, "ready_to_stored_seconds"), "half of them"),
                Query(quantile(0.95, "ready_to_stored_seconds"), "95 %"),
            ],
        ),
    ],
)

PAGE = Page(
    uid="venice-gateway-key",
    title="Venice gateway: the shared key",
    description="How near the one Venice key is to its limits, who waits for it, what Venice says.",
    rows=[NOW, GATE, QUESTIONS, VENICE],
)
