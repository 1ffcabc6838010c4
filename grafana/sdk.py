"""Spells the vocabulary as Grafana's dashboards, through its own SDK. It knows no question and no
query; what it writes is the same each time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.vocabulary import Page, Panel, Query, Step, Unit, Variable

TAG = "venice-gateway"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
UNITS: Mapping[Unit, str] = {
    "USD": "currencyUSD",
    "seconds": "s",
    "bytes": "bytes",
    "bytes/s": "Bps",
    "ratio": "percentunit",
    "calls": "short",
    "per second": "reqps",
    "count": "short",
    "on": "bool_yes_no",
}
COLOURS = {"Restarts": "orange", "Policy changes": "blue"}
ALL = models.VariableOption(selected=True, text="All", value="$__all")
INSTANCE = Variable("instance", "Instance", "label_values(venice_gateway_build_info, instance)")


def dashboard_of(page: Page, annotations: Mapping[str, Query]) -> models.Dashboard:
    """The dashboard of one page."""
    built = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([TAG])
        .readonly()
        .time(f"now-{page.span}", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("The other dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for variable in (INSTANCE, *page.variables):
        built.with_variable(_variable(variable))
    for name, query in annotations.items():
        built.annotation(_annotation(name, query))
    ids = itertools.count(1)
    for row in page.rows:
        built.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            built.with_panel(_panel(panel).id(next(ids)))
    return built.build()


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .query(variable.values)
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(ALL)
    )


def _annotation(name: str, query: Query) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(COLOURS[name])
        .expr(query.expr)
    )


def _panel(panel: Panel) -> Any:
    """The builder of a panel: what all kinds share, over what its kind adds."""
    built = _KINDS[panel.kind](panel)
    built.title(panel.title).description(panel.question).datasource(SOURCE)
    built.span(panel.width).height(panel.height).unit(UNITS[panel.unit])
    if panel.interval is not None:
        built.interval(panel.interval)
    is_momentary = panel.kind in ("stat", "words", "ranking")
    for number, query in enumerate(panel.queries):
        built.with_target(_target(query, chr(ord("A") + number), panel, is_momentary=is_momentary))
    return built


def _target(query: Query, ref: str, panel: Panel, *, is_momentary: bool) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(SOURCE)
    built.legend_format(query.legend or "__auto")
    if panel.kind == "heatmap":
        built.format(PromQueryFormat.HEATMAP)
    return built.instant() if is_momentary else built.range()


def _steps(steps: tuple[Step, ...], below: str) -> dashboard.ThresholdsConfig:
    first = models.Threshold(value=None, color=below)
    others = [models.Threshold(value=step.value, color=step.colour) for step in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([first, *others])


def _stat(panel: Panel) -> stat.Panel:
    built = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    built.thresholds(_steps(tuple(panel.steps), "green" if panel.steps else "text"))
    built.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    built.graph_mode(common_models.BigValueGraphMode.NONE)
    if panel.kind == "words":
        built.text_mode(common_models.BigValueTextMode.NAME)
    return built


def _ranking(panel: Panel) -> bargauge.Panel:
    built = bargauge.Panel().orientation(common_models.VizOrientation.HORIZONTAL)
    built.display_mode(common_models.BarGaugeDisplayMode.BASIC).min(0)
    built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    built.thresholds(_steps(tuple(panel.steps), "green"))
    return built if panel.maximum is None else built.max(panel.maximum)


def _series(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .show_points(common_models.VisibilityMode.NEVER)
        .axis_soft_min(0)
    )
    if panel.kind != "lines":
        built.fill_opacity(60 if panel.kind == "bars" else 25)
        built.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if panel.kind == "bars":
        built.draw_style(common_models.GraphDrawStyle.BARS)
    if panel.steps:
        built.thresholds(_steps(tuple(panel.steps), "transparent"))
        built.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    return built if panel.maximum is None else built.axis_soft_max(panel.maximum)


def _heatmap(_panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(32)
            .exponent(0.5)
        )
        .show_legend()
    )


def _states(_panel: Panel) -> statetimeline.Panel:
    closed = {"0": models.ValueMappingResult(text="closed", color="green", index=0)}
    opened = {"1": models.ValueMappingResult(text="open", color="red", index=1)}
    return (
        statetimeline.Panel()
        .mappings([models.ValueMap(options={**closed, **opened})])
        .show_value(common_models.VisibilityMode.NEVER)
        .merge_values(True)
    )


_KINDS: Mapping[str, Any] = {
    "stat": _stat,
    "words": _stat,
    "ranking": _ranking,
    "lines": _series,
    "stacked": _series,
    "bars": _series,
    "heatmap": _heatmap,
    "states": _states,
}
