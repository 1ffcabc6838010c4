"""The dashboard *Spend*: who spends what, how far budgets reach, and what was paid for nothing."""

from __future__ import annotations

from grafana.vocabulary import (
    RANGE,
    RATE,
    Page,
    Panel,
    Query,
    Row,
    Step,
    Variable,
    metric,
    rate,
    rule,
)

CHOSEN = ('team=~"$team"', 'model=~"$model"')
SPENT = metric("spend_usd_total", *CHOSEN)
COMPARED = (
    f"time() - ({metric('reconciled_timestamp_seconds')} > 0) "
    f"and on (instance) {metric('reconciliation_on')} == 1"
)
NEARLY, USED_UP = Step("orange", 0.8), Step("red", 1.0)


def spent_within(by: str) -> str:
    """What was settled within the range shown. A difference and no `increase`: a correction makes
    the sum smaller, which `increase` would take for a restart and count the whole sum anew."""
    then = f"sum by ({by}) ({SPENT} offset {RANGE})"
    return f"sum by ({by}) ({SPENT}) - ({then} or sum by ({by}) ({SPENT}) * 0)"


def with_a_name_for_none(expr: str) -> str:
    """Users without a team have none in the ledger; a legend needs a word."""
    return f'label_replace({expr}, "team", "(no team)", "team", "")'


NOW = Row(
    "Now",
    [
        Panel(
            "Settled",
            "What was spent in the range shown, corrections included?",
            "stat",
            "USD",
            [Query(spent_within("instance"))],
            width=4,
            height=4,
        ),
        Panel(
            "Reserved",
            "How much is held for jobs in the making?",
            "stat",
            "USD",
            [Query(metric("reserved_usd"))],
            width=4,
            height=4,
        ),
        Panel(
            "In doubt",
            "How much waits for evidence or somebody's decision?",
            "stat",
            "USD",
            [Query(metric("in_doubt_usd"))],
            width=4,
            height=4,
            steps=[Step("orange", 0.000001)],
        ),
        Panel(
            "Oldest doubt",
            "For how long?",
            "stat",
            "seconds",
            [Query(metric("in_doubt_oldest_seconds"))],
            width=3,
            height=4,
            steps=[Step("orange", 600), Step("red", 3600)],
        ),
        Panel(
            "Balance at Venice",
            "What is left for everybody?",
            "stat",
            "USD",
            [Query(metric("org_balance_usd"))],
            width=3,
            height=4,
        ),
        Panel(
            "Drift of the bill",
            "By how much does Venice's bill differ from the ledger?",
            "stat",
            "USD",
            [Query(metric("bill_drift_usd"))],
            width=3,
            height=4,
            steps=[Step("red", 0.01)],
        ),
        Panel(
            "Bill compared",
            "How long ago was Venice's bill last compared? Empty where no key may read it.",
            "stat",
            "seconds",
            [Query(COMPARED)],
            width=3,
            height=4,
            steps=[Step("orange", 2 * 86_400)],
        ),
    ],
)
WHO = Row(
    "Who spends",
    [
        Panel(
            "By team",
            "Which teams spent in the range shown?",
            "ranking",
            "USD",
            [Query(with_a_name_for_none(spent_within("team")), "{{team}}")],
        ),
        Panel(
            "By model",
            "Which models was it spent on?",
            "ranking",
            "USD",
            [Query(spent_within("model"), "{{model}}")],
        ),
        Panel(
            "By day",
            "How much in the day before each moment, by team?",
            "bars",
            "USD",
            [
                Query(
                    with_a_name_for_none(f"sum by (team) ({rule('spend_usd:1d', *CHOSEN)})"),
                    "{{team}}",
                )
            ],
            interval="1d",
        ),
        Panel(
            "Settled so far",
            "How does the sum grow, by team?",
            "stacked",
            "USD",
            [Query(with_a_name_for_none(f"sum by (team) ({SPENT})"), "{{team}}")],
            width=12,
        ),
        Panel(
            "Held",
            "How much is promised and not settled yet?",
            "stacked",
            "USD",
            [
                Query(metric("reserved_usd"), "reserved"),
                Query(metric("in_doubt_usd"), "in doubt"),
            ],
            width=12,
        ),
    ],
)
BUDGETS = Row(
    "Budgets of teams and organization",
    [
        Panel(
            "Used",
            "Which pools are nearly used up?",
            "ranking",
            "ratio",
            [Query(rule("budget_used:ratio"), "{{name}}, {{window}}")],
            steps=[NEARLY, USED_UP],
            maximum=1,
        ),
        Panel(
            "Burn",
            "How fast does each window fill?",
            "lines",
            "ratio",
            [Query(rule("budget_used:ratio"), "{{name}}, {{window}}")],
            steps=[NEARLY, USED_UP],
            maximum=1,
        ),
        Panel(
            "Forecast for the window's end",
            "At the pace so far, what part of each limit will be used when its window ends?",
            "ranking",
            "ratio",
            [
                Query(
                    f"{rule('budget_forecast_usd')} / {metric('budget_limit_usd')}",
                    "{{name}}, {{window}}",
                )
            ],
            steps=[NEARLY, USED_UP],
        ),
        Panel(
            "Left",
            "How many dollars may each pool still hold?",
            "lines",
            "USD",
            [
                Query(
                    f"{metric('budget_limit_usd')} - {metric('budget_used_usd')}",
                    "{{name}}, {{window}}",
                )
            ],
            width=8,
        ),
        Panel(
            "Until the window ends",
            "How long must it last?",
            "ranking",
            "seconds",
            [
                Query(
                    f"{metric('budget_window_end_timestamp_seconds')} - time()",
                    "{{name}}, {{window}}",
                )
            ],
            width=8,
        ),
        Panel(
            "Prices that changed",
            "How often did Venice change a price by more than the policy lets pass in silence?",
            "bars",
            "count",
            [
                Query(
                    f"sum by (direction) (increase({metric('quote_drifts_total')}[{RATE}]))",
                    "{{direction}}",
                )
            ],
        ),
    ],
)
LOST = Row(
    "Refused, given back, wasted",
    [
        Panel(
            "Refusals",
            "Which rules refuse orders?",
            "bars",
            "count",
            [
                Query(
                    f"sum by (reason) (increase({metric('refusals_total')}[{RATE}]))", "{{reason}}"
                )
            ],
        ),
        Panel(
            "Refunds",
            "What does Venice give back, an hour, and charge beyond what was held?",
            "lines",
            "USD",
            [
                Query(f"sum by (reason) ({rate('refunds_usd_total')}) * 3600", "{{reason}}"),
                Query(f"{rate('overruns_usd_total')} * 3600", "overrun"),
            ],
        ),
        Panel(
            "Wasted",
            "What was paid, in all, for jobs that brought no video, and for videos nobody fetched?",
            "stacked",
            "USD",
            [
                Query(metric("waste_usd"), "{{reason}}"),
                Query(metric("unfetched_usd_total"), "never fetched, since the start"),
            ],
        ),
    ],
)

PAGE = Page(
    uid="venice-gateway-spend",
    title="Venice gateway: spend",
    description="Who spends what, how far budgets reach, and what was paid for nothing.",
    rows=[NOW, WHO, BUDGETS, LOST],
    variables=[
        Variable("team", "Team", "label_values(venice_gateway_spend_usd_total, team)"),
        Variable("model", "Model", "label_values(venice_gateway_spend_usd_total, model)"),
    ],
    span="24h",
)
