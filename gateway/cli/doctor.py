"""`doctor`: finds what keeps a gateway from working, and says what to do. It repairs nothing, and
asks Venice only what costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.show import STATES, AsJson, as_value, painted
from gateway.core.published import orders_per_minute
from gateway.settings import Settings, SettingsRefused, load_settings

if TYPE_CHECKING:
    from gateway.cli.examination import Check
    from gateway.cli.free_calls import Told

SKEW_SECONDS_MAX = 30
"""Windows of budgets end by this machine's clock, and Venice's by its own."""
_WIDTH = 16


def doctor(
    live: Annotated[
        bool, typer.Option("--live", help="Only whether the gateway runs, for health checks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what keeps the gateway from working; exit 1 where there is a problem."""
    checks = [_check_live()] if live else list(_examine())
    is_well = all(check.status != "problem" for check in checks)
    if as_json:
        found = [{"name": c.name, "status": c.status, "message": c.message} for c in checks]
        as_value({"ok": is_well, "checks": found})
    else:
        for check in checks:
            status = painted(check.status.ljust(8), STATES[check.status])
            print(f"{status} {check.name.ljust(_WIDTH)} {check.message}")
    if not is_well:
        raise typer.Exit(1)


def _check_live() -> Check:
    from gateway.cli.examination import Check
    from gateway.cli.liveness import found

    is_well, message = found(os.environ)
    return Check("gateway", "ok" if is_well else "problem", message)


def _examine() -> Iterator[Check]:
    from gateway.cli.examination import Check, check_machine, check_rules
    from gateway.core.policy import VideoRules

    settings: Settings | None
    told = "settings"
    try:
        settings = load_settings(os.environ)
        yield Check(told, "ok", "all are known")
    except SettingsRefused as error:
        refusal = str(error)
        told = _about(refusal)
        yield Check(told, "problem", refusal)
        settings = _the_rest_of_settings()
        if settings is None:
            return
    yield from _ask_venice(settings, key_is_told=told == "venice key")
    of_rules, loaded = check_rules(settings)
    yield of_rules
    videos = VideoRules() if loaded is None else loaded.rulebook.videos
    # What the settings were refused for stays as it was told.
    yield from (check for check in check_machine(settings, videos) if check.name != told)


def _the_rest_of_settings() -> Settings | None:
    """The settings without what cannot be used, as far as there are any."""
    for leaves_keys_out in (False, True):
        try:
            return load_settings(os.environ, simulator=leaves_keys_out, serves=False)
        except SettingsRefused:
            continue
    return None


def _about(refusal: str) -> str:
    """Under which name a refused setting is told."""
    if refusal.startswith("VGW_PUBLIC_URL"):
        return "public url"
    return "venice key" if refusal.startswith("VENICE_API_KEY") else "settings"


def _ask_venice(settings: Settings, *, key_is_told: bool) -> Iterator[Check]:
    """The address, the key and the clock, by two free calls."""
    from gateway.cli.examination import Check
    from gateway.cli.free_calls import MODELS, RATE_LIMITS, ask

    key = settings.venice_api_key
    catalogue = ask(settings.upstream_url, MODELS, key)
    address = _check_address(settings.upstream_url, catalogue)
    yield address
    if key is None and not key_is_told:
        hint = "Set VENICE_API_KEY, or VENICE_API_KEY_FILE; `init` does it. `serve --simulator`"
        yield Check("venice key", "problem", f"there is none. {hint} needs none.")
    if address.status == "problem":
        return
    if key is not None:
        yield _check_key(ask(settings.upstream_url, RATE_LIMITS, key))
        yield _check_billing_key(settings)
    yield check_clock(catalogue.date, datetime.now(UTC))


def _check_address(url: str, catalogue: Told) -> Check:
    from gateway.cli.examination import Check

    name = "venice address"
    if catalogue.status is None:
        hint = "Check VGW_UPSTREAM_URL, the network, and HTTPS_PROXY."
        return Check(name, "problem", f"{url} does not answer ({catalogue.trouble}). {hint}")
    is_venice = isinstance(catalogue.document, dict) and "error" in catalogue.document
    if catalogue.models is not None:
        return Check(name, "ok", f"{url}, {len(catalogue.models)} video models")
    if catalogue.is_refusal and is_venice:
        return Check(name, "ok", f"{url} answers")
    if catalogue.status in (429, 500, 502, 503, 504):
        return Check(
            name, "warning", f"{url} is busy (status {catalogue.status}). Ask again later."
        )
    hint = "Set VGW_UPSTREAM_URL to Venice's address; it ends in /api/v1."
    return Check(name, "problem", f"{url}/models answers {catalogue.status} without models. {hint}")


def _check_key(told: Told) -> Check:
    from gateway.cli.examination import Check

    name = "venice key"
    if told.is_refusal:
        hint = "It may be revoked, expired or mistyped: make a new one at Venice."
        return Check(name, "problem", f"Venice refuses it (status {told.status}). {hint}")
    if told.rights is None:
        what = f"status {told.status}" if told.status else told.trouble
        return Check(name, "warning", f"Venice does not say what it may do ({what}).")
    if told.rights.get("accessPermitted") is False:
        return Check(name, "problem", "Venice permits it no access. Look at the account there.")
    orders = orders_per_minute(told.document, lambda _model: True)
    limits = "" if orders is None else f"; it publishes a limit of {orders} calls a minute"
    return Check(name, "ok", f"Venice takes it{limits}")


def _check_billing_key(settings: Settings) -> Check:
    from gateway.cli.examination import Check
    from gateway.cli.free_calls import BALANCE, ask

    name, key = "billing key", settings.venice_billing_key
    if key is None:
        off = "none: reconciliation with Venice's bill is off. VENICE_BILLING_KEY turns it on"
        return Check(name, "ok", off)
    told = ask(settings.upstream_url, BALANCE, key)
    if told.is_refusal:
        hint = "Set VENICE_BILLING_KEY to an admin key of the organization's account."
        return Check(name, "problem", f"Venice refuses it (status {told.status}). {hint}")
    if told.status != 200:
        what = f"status {told.status}" if told.status else told.trouble
        return Check(name, "warning", f"Venice does not say whether it takes it ({what}).")
    return Check(name, "ok", "it may read Venice's bill")


def check_clock(venice: datetime | None, here: datetime) -> Check:
    """Whether this machine and Venice agree on the time."""
    from gateway.cli.examination import Check

    if venice is None:
        return Check("clock", "warning", "Venice does not tell its time, so it is not compared.")
    skew = round((here - venice).total_seconds())
    if abs(skew) > SKEW_SECONDS_MAX:
        how = f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'} Venice's"
        return Check("clock", "problem", f"this machine's is {how}. Set it by NTP.")
    return Check("clock", "ok", f"within {SKEW_SECONDS_MAX} s of Venice's")
