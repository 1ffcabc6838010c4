"""`init`: takes the organization's key, asks Venice what it is worth, and writes the settings.

It writes nothing for a key that Venice refuses, and over nothing without being told to.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.reach import Refused
from gateway.cli.show import AsJson, as_record, as_value, note
from gateway.settings import FILE_NAME, Settings, checked_secret, load_settings, read_secret_file

if TYPE_CHECKING:
    from pydantic import SecretStr

KEY_FILE = "venice.key"

_TOML = """\
# Settings of the gateway. A variable of the environment comes before what is written here.
# Relative paths begin where the gateway is started.

VENICE_API_KEY_FILE = {key}      # one line, mode 0600; read again when it changes
{upstream}VGW_HOST = {host}
VGW_PORT = {port}
VGW_DATA_DIR = {data}
VGW_POLICIES = {policies}
# VGW_PUBLIC_URL = "https://videos.example.org"   # needed when VGW_HOST is reachable by others
"""

_POLICIES = """\
# yaml-language-server: $schema=schema.json
# What users may do, and what it may cost. Read again within two seconds of a change; ask
#     venice-gateway policy check
# before you save. Amounts are US dollars; windows are hour, day, week, month, total, or like 24h.

version: 1

organization:
  timezone: UTC             # where a day begins
  pool: {month: 100}        # all users together

# teams:
#   film: {policy: default, pool: {month: 50}}

policies:
  default:                  # for every user without another policy; it must exist
    each_user: {day: 5, month: 30}
    job: {usd: 2}           # the most that a single video may cost
"""


def init(
    key_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file that holds the Venice key.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; needs --key-file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set up a gateway: check the organization's Venice key and write gateway.toml."""
    settings = load_settings(os.environ, simulator=True, serves=False)
    asks = not yes and sys.stdin.isatty()
    if not asks and (not yes or key_file is None):
        missing = " and ".join(
            word
            for word, is_given in (("--yes", yes), ("--key-file PATH", key_file))
            if not is_given
        )
        raise Refused(f"Nobody can be asked here: give {missing} too.")
    key = _read_key(key_file)
    found = _what_it_is_worth(settings, key)
    if not as_json:
        as_record(found)
    written = _write(settings, key, asks=asks)
    if as_json:
        as_value({**found, "written": [str(path) for path in written]})
        return
    for path in written:
        note(f"wrote {path}")
    note("Next: venice-gateway serve, then venice-gateway user add NAME.")


def _read_key(key_file: Path | None) -> SecretStr:
    if key_file is not None:
        return read_secret_file("VENICE_API_KEY", key_file)
    text = typer.prompt("The organization's Venice key", hide_input=True, err=True)
    return checked_secret("VENICE_API_KEY", str(text).strip())


def _what_it_is_worth(settings: Settings, key: SecretStr) -> dict[str, Any]:
    """What Venice says of the key; `Refused` where it refuses it or is not there."""
    from gateway.cli.free_calls import MODELS, RATE_LIMITS, ask

    url = settings.upstream_url
    catalogue, told = ask(url, MODELS, key), ask(url, RATE_LIMITS, key)
    if told.is_refusal or catalogue.is_refusal:
        raise Refused("Venice refuses this key. Nothing was written.")
    if catalogue.models is None or told.rights is None:
        what = catalogue.trouble or told.trouble or f"status {catalogue.status} and {told.status}"
        raise Refused(
            f"{url} does not answer as Venice does ({what}). Nothing was written; check "
            "VGW_UPSTREAM_URL, the network, and HTTPS_PROXY."
        )
    rights = told.rights
    if rights.get("accessPermitted") is False:
        raise Refused("Venice permits this key no access. Nothing was written.")
    tier = rights.get("apiTier")
    balances = rights.get("balances")
    return {
        "upstream": url,
        "models": len(catalogue.models),
        "tier": tier.get("id") if isinstance(tier, dict) else None,
        "expires": rights.get("keyExpiration"),
        "balance": {n: str(v) for n, v in balances.items()} if isinstance(balances, dict) else {},
        "limits": _limits(rights.get("rateLimits"), catalogue.models),
    }


def _limits(listed: Any, models: list[Any]) -> dict[str, str]:
    """The most frequent limit of each kind over the video models, `{"RPM": "40"}`."""
    ids = {model.get("id") for model in models if isinstance(model, dict)}
    counts: dict[str, Counter[str]] = {}
    for row in listed if isinstance(listed, list) else []:
        if not isinstance(row, dict) or row.get("apiModelId") not in ids:
            continue
        for limit in row.get("rateLimits") or []:
            counts.setdefault(str(limit.get("type")), Counter())[str(limit.get("amount"))] += 1
    return {kind: amounts.most_common(1)[0][0] for kind, amounts in counts.items()}


def _write(settings: Settings, key: SecretStr, *, asks: bool) -> list[Path]:
    """Write what is missing or may be replaced; the files that were written."""
    key_path = settings.data_dir / KEY_FILE
    wanted = [
        (key_path, key.get_secret_value() + "\n", 0o600),
        (Path(FILE_NAME).absolute(), _settings_text(settings, key_path), 0o644),
    ]
    if not any(settings.policies.glob("*.yaml")):
        from gateway.policies import rules_schema

        schema = json.dumps(rules_schema(), indent=2) + "\n"
        wanted.append((settings.policies / "default.yaml", _POLICIES, 0o644))
        wanted.append((settings.policies / "schema.json", schema, 0o644))
    differing = [(path, text, mode) for path, text, mode in wanted if not _holds(path, text)]
    # Everything is asked before anything is written: a no leaves all as it was.
    for path, _, _ in differing:
        if path.exists():
            _may_replace(path, asks=asks)
    for path, text, mode in differing:
        _replace(path, text, mode)
    return [path for path, _, _ in differing]


def _settings_text(settings: Settings, key_path: Path) -> str:
    is_usual = settings.upstream_url == Settings.model_fields["upstream_url"].default
    upstream = "" if is_usual else f"VGW_UPSTREAM_URL = {_quoted(settings.upstream_url)}\n"
    return _TOML.format(
        key=_quoted(_short(key_path)),
        upstream=upstream,
        host=_quoted(settings.host),
        port=settings.port,
        data=_quoted(_short(settings.data_dir)),
        policies=_quoted(_short(settings.policies)),
    )


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's (toml.io v1.0, strings)."""
    return json.dumps(text, ensure_ascii=False)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text("utf-8") == text
    except (OSError, ValueError):
        return False


def _may_replace(path: Path, *, asks: bool) -> None:
    if not asks:
        raise Refused(
            f"{path} is there already and says something else. Nothing was written; move it away, "
            "or run init on a terminal, where it asks."
        )
    if not typer.confirm(f"{path} is there already. Replace it?", default=False, err=True):
        raise Refused("Nothing was written.")


def _replace(path: Path, text: str, mode: int) -> None:
    """Put the whole file there at once, never readable by more than `mode` says."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}.") from error
