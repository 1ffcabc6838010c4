"""The dashboard *Service*: how fast each door answers, and how the process and its ledger are."""

from __future__ import annotations

from grafana.vocabulary import RATE, Page, Panel, Query, Row, Step, metric, quantile, rate, rule

ALL = f"sum by (instance) ({rule('requests:rate5m')})"
FAILED = "sum by (instance) (" + rule("requests:rate5m", 'status=~"5.."') + ")"
NOT_FINE = rule("requests:rate5m", 'status!~"2.."')
POLLS = metric("request_seconds_bucket", 'door="retrieve"')
ORDERS = metric("request_seconds_bucket", 'door="queue"')

NOW = Row(
    "Now",
    [
        Panel(
            "Running since",
            "How long has the process been up?",
            "stat",
            "seconds",
            [Query(f"time() - {metric('process_start_time_seconds')}", "up")],
            width=4,
            height=4,
        ),
        Panel(
            "Requests",
            "How many come in a second?",
            "stat",
            "per second",
            [Query(ALL)],
            width=4,
            height=4,
        ),
        Panel(
            "Server errors",
            "What part of the answers is 5xx?",
            "stat",
            "ratio",
            [Query(f"({FAILED} or {ALL} * 0) / {ALL}")],
            width=4,
            height=4,
            steps=[Step("orange", 0.01), Step("red", 0.05)],
        ),
        Panel(
            "Spending stopped",
            "Has the gateway stopped taking orders?",
            "stat",
            "on",
            [Query(metric("spending_stopped"), "stopped")],
            width=4,
            height=4,
            steps=[Step("red", 1)],
        ),
        Panel(
            "Policies refused",
            "Are the files on disk those in force?",
            "stat",
            "on",
            [Query(f"1 - {metric('policies_ok')}", "refused")],
            width=4,
            height=4,
            steps=[Step("red", 1)],
        ),
        Panel(
            "Version",
            "What runs?",
            "words",
            "count",
            [Query(metric("build_info"), "{{version}}")],
            width=4,
            height=4,
        ),
    ],
)
DOORS = Row(
    "Doors",
    [
        Panel(
            "Requests by door",
            "What is asked of the gateway?",
            "stacked",
            "per second",
            [Query(f"sum by (door) ({rule('requests:rate5m')})", "{{door}}")],
        ),
        Panel(
            "Not 2xx",
            "Which doors refuse or fail, and how?",
            "stacked",
            "per second",
            [Query(f"sum by (door, status) ({NOT_FINE})", "{{door}} {{status}}")],
        ),
        Panel(
            "Slowest hundredth",
            "How long do the slowest 1 % of the answers of each door take?",
            "lines",
            "seconds",
            [Query(quantile(0.99, "request_seconds", "door"), "{{door}}")],
        ),
        Panel(
            "Polls, as a map",
            "How are the times of polls spread? They come from memory.",
            "heatmap",
            "seconds",
            [Query(f"sum by (le) (increase({POLLS}[{RATE}]))", "{{le}}")],
            width=12,
        ),
        Panel(
            "Orders, as a map",
            "How are the times of orders spread? Venice is in them, and the wait for a turn.",
            "heatmap",
            "seconds",
            [Query(f"sum by (le) (increase({ORDERS}[{RATE}]))", "{{le}}")],
            width=12,
        ),
    ],
)
INSIDE = Row(
    "Inside",
    [
        Panel(
            "Commits of the ledger",
            "How many group commits a second?",
            "lines",
            "per second",
            [Query(rate("ledger_commit_seconds_count"), "commits")],
        ),
        Panel(
            "Time of a commit",
            "How long until a group is durable, fsync included?",
            "lines",
            "seconds",
            [
                Query(quantile(0.5, "ledger_commit_seconds"), "half of them"),
                Query(quantile(0.99, "ledger_commit_seconds"), "99 %"),
            ],
        ),
        Panel(
            "Lag of the event loop",
            "Is the process too busy to answer?",
            "lines",
            "seconds",
            [
                Query(quantile(0.5, "event_loop_lag_seconds"), "half of the time"),
                Query(quantile(0.99, "event_loop_lag_seconds"), "99 %"),
            ],
        ),
        Panel(
            "Memory",
            "How much does the process take?",
            "lines",
            "bytes",
            [Query(metric("process_resident_memory_bytes"), "resident")],
        ),
        Panel(
            "Processor",
            "What part of one core is used?",
            "lines",
            "ratio",
            [Query(rate("process_cpu_seconds_total"), "of one core")],
        ),
        Panel(
            "Open files and connections",
            "How far from the limit?",
            "lines",
            "count",
            [
                Query(metric("process_open_fds"), "open"),
            ],
        ),
    ],
)

PAGE = Page(
    uid="venice-gateway-service",
    title="Venice gateway: service",
    description="How fast each door answers, and how the process and its ledger are.",
    rows=[NOW, DOORS, INSIDE],
)
