"""The settings of one gateway, read once: environment, then `gateway.toml`, then defaults.

Refuses, in one sentence, what it does not know or cannot use; a secret's value is never repeated.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from gateway.setting_values import (
    SECRET_BYTES_MAX,
    check_admin_key,
    check_venice_key,
    database_path,
    in_url,
    is_loopback,
    read_address,
    read_body_bytes,
    read_folder,
    read_host,
    read_networks,
    read_port,
    read_upstream,
    video_path,
)

T = TypeVar("T")

FILE_NAME = "gateway.toml"
_INJECTED_BY_KUBERNETES = re.compile(r"VGW_\w*SERVICE\w*|VGW_\w+_PORT\w*|VGW_PORT_\w+")
_KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


class SettingsRefused(Exception):
    """A setting is unknown, missing or impossible; the sentence names it, never a secret."""


def _lower(value: str) -> str:
    return value.lower()


Port = Annotated[int, BeforeValidator(read_port)]
Address = Annotated[str, BeforeValidator(read_address)]


class Settings(BaseModel):
    """Everything that is decided outside of the policies; `load_settings` makes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    venice_api_key: Annotated[SecretStr | None, Field(alias="VENICE_API_KEY")] = None
    venice_api_key_previous: Annotated[SecretStr | None, Field(alias="VENICE_API_KEY_PREVIOUS")] = (
        None
    )
    venice_billing_key: Annotated[SecretStr | None, Field(alias="VENICE_BILLING_KEY")] = None
    upstream_url: Annotated[
        str, BeforeValidator(read_upstream), Field(alias="VGW_UPSTREAM_URL")
    ] = "https://api.venice.ai/api/v1"
    host: Annotated[str, BeforeValidator(read_host), Field(alias="VGW_HOST")] = "127.0.0.1"
    port: Annotated[Port, Field(alias="VGW_PORT")] = 8080
    url: Annotated[Address | None, Field(alias="VGW_URL")] = None
    """Where administration commands find a running gateway; see `administration_url`."""
    public_url: Annotated[Address, Field(alias="VGW_PUBLIC_URL")]
    """What links begin with; no trailing slash."""
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        BeforeValidator(read_networks),
        Field(alias="VGW_TRUSTED_PROXIES"),
    ] = ()
    data_dir: Annotated[Path, Field(alias="VGW_DATA_DIR")]
    database_url: Annotated[str, Field(alias="VGW_DATABASE_URL", repr=False)]
    video_store: Annotated[str, Field(alias="VGW_VIDEO_STORE", repr=False)]
    policies: Annotated[Path, Field(alias="VGW_POLICIES")]
    admin_key: Annotated[SecretStr | None, Field(alias="VGW_ADMIN_KEY")] = None
    body_bytes_max: Annotated[
        int, BeforeValidator(read_body_bytes), Field(alias="VGW_BODY_MAX")
    ] = 64 * 2**20
    metrics_port: Annotated[Port | None, Field(alias="VGW_METRICS_PORT")] = None
    """None: `/metrics` is on the main port."""
    access_log: Annotated[
        Literal["all", "quiet", "off"], BeforeValidator(_lower), Field(alias="VGW_ACCESS_LOG")
    ] = "quiet"
    """`quiet`: a line for every request but polls that went well."""
    log_format: Annotated[
        Literal["console", "json"] | None, BeforeValidator(_lower), Field(alias="VGW_LOG_FORMAT")
    ] = None
    """None: `console` on a terminal, else `json`."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(_lower),
        Field(alias="VGW_LOG_LEVEL"),
    ] = "info"
    database_path: Path
    """The SQLite file."""
    video_dir: Path
    secret_files: Mapping[str, Path] = {}
    """The files that secrets came from, by variable: to be read again when they change."""

    @property
    def administration_url(self) -> str:
        """Where administration commands find a running gateway."""
        return self.url or self.listening_url

    @property
    def listening_url(self) -> str:
        """Where a gateway running with these settings is reached from its own machine."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{in_url(here)}:{self.port}"

    def require_api_key(self) -> SecretStr:
        """The organization's Venice key; `SettingsRefused`, naming both ways on, without one."""
        if self.venice_api_key is None:
            raise SettingsRefused(
                "No Venice key: set VENICE_API_KEY (or VENICE_API_KEY_FILE) to the organization's "
                "key, or start with --simulator to try the gateway without Venice."
            )
        return self.venice_api_key


VARIABLES = {field.alias: name for name, field in Settings.model_fields.items() if field.alias}
"""Every variable there is, with the name of its field."""
SECRETS = ("VENICE_API_KEY", "VENICE_API_KEY_PREVIOUS", "VENICE_BILLING_KEY", "VGW_ADMIN_KEY")
"""The variables that hold secrets: each may also be given as NAME_FILE."""
KNOWN = frozenset(VARIABLES) | {f"{name}_FILE" for name in SECRETS}


def load_settings(
    environ: Mapping[str, str],
    *,
    simulator: bool = False,
    serves: bool = True,
    cwd: Path = Path(),
) -> Settings:
    """The settings; `SettingsRefused` for the first thing wrong with them.

    With `simulator` Venice's keys are not looked at. `serves` is False for commands that only
    administer: they make no links, so they need no public address. Relative paths start at `cwd`.
    """
    environment = _from_environment(environ)
    given = {**_from_file(cwd / FILE_NAME, environment), **environment}
    files = {n: cwd / given.pop(f"{n}_FILE") for n in SECRETS if f"{n}_FILE" in given}
    if simulator:
        given = {name: value for name, value in given.items() if not name.startswith("VENICE_")}
        files = {name: path for name, path in files.items() if not name.startswith("VENICE_")}
    for name in SECRETS:
        if name in given and name in files:
            raise SettingsRefused(f"{name} and {name}_FILE are both set; keep one of them.")
    values: dict[str, Any] = dict(given)
    values |= {name: read_secret_file(name, path) for name, path in files.items()}
    values |= {name: checked_secret(name, values[name]) for name in SECRETS if name in given}
    _add_derived(values, cwd.absolute(), serves=serves)
    try:
        settings = Settings.model_validate({**values, "secret_files": files})
    except ValidationError as error:
        raise SettingsRefused(_sentence(error.errors()[0])) from None
    if settings.metrics_port is not None and settings.metrics_port == settings.port != 0:
        raise SettingsRefused("VGW_METRICS_PORT is the same as VGW_PORT; leave it out instead.")
    return settings


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment sets; an empty value counts as unset, except where it is a secret."""
    found = {}
    for name, value in environ.items():
        # Kubernetes puts `tcp://…` into VGW_PORT where a service is called `vgw`.
        if name.endswith("_PORT") and _KUBERNETES_ADDRESS.fullmatch(value):
            continue
        if name in KNOWN:
            if value or name in SECRETS:
                found[name] = value
        elif name.startswith("VGW_") and not _INJECTED_BY_KUBERNETES.fullmatch(name):
            raise SettingsRefused(_unknown(name))
    return found


def _from_file(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What the file sets and the environment does not; names in either case."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsRefused(f"{FILE_NAME} cannot be read: {error}") from None
    found: dict[str, str] = {}
    for key, value in document.items():
        name = key.upper()
        if name not in KNOWN:
            raise SettingsRefused(f"In {FILE_NAME}: {_unknown(key)}")
        if name in found:
            raise SettingsRefused(f"In {FILE_NAME}: {name} is set twice.")
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, bool) or not isinstance(text, str | int):
            raise SettingsRefused(f"In {FILE_NAME}: {name} must be a text or a whole number.")
        found[name] = str(text)
    # A secret of the environment hides the file's, in whichever of its two forms either comes.
    hidden = {name.removesuffix("_FILE") for name in environment}
    return {name: text for name, text in found.items() if name.removesuffix("_FILE") not in hidden}


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.0)[0]
    return f"{name} is no setting of this gateway; the nearest one is {nearest}."


def read_secret_file(variable: str, path: Path) -> SecretStr:
    """The secret in a file, without the newline that ends it; `SettingsRefused` if unusable."""
    try:
        with path.open("rb") as file:
            text = file.read(SECRET_BYTES_MAX + 2).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsRefused(f"{variable}_FILE: {path} cannot be read: {reason}.") from None
    return checked_secret(variable, text.removesuffix("\n").removesuffix("\r"))


def checked_secret(variable: str, value: str) -> SecretStr:
    """The value as a secret; `SettingsRefused` for what cannot be a key, without repeating it."""
    check = check_admin_key if variable == "VGW_ADMIN_KEY" else check_venice_key
    _read(variable, check, value)
    return SecretStr(value)


def fingerprint(secret: SecretStr) -> str:
    """What stands for a secret in records: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()[:12]


def _add_derived(values: dict[str, Any], cwd: Path, *, serves: bool) -> None:
    """Fill in the defaults that follow from other settings, and make paths absolute."""
    for name, default in (("VGW_DATA_DIR", "data"), ("VGW_POLICIES", "policies")):
        values[name] = cwd / _read(name, read_folder, values.get(name, default))
    data_dir = values["VGW_DATA_DIR"]
    # Its own default needs no reading: a folder may have a name that no address can.
    values["database_path"] = data_dir / "gateway.db"
    if "VGW_DATABASE_URL" in values:
        given = _read("VGW_DATABASE_URL", database_path, values["VGW_DATABASE_URL"])
        values["database_path"] = cwd / given
    values.setdefault("VGW_DATABASE_URL", f"sqlite:///{data_dir}/gateway.db")
    store = values.setdefault("VGW_VIDEO_STORE", f"file://{data_dir}/videos")
    values["video_dir"] = cwd / _read("VGW_VIDEO_STORE", video_path, store)
    host = _read("VGW_HOST", read_host, values.get("VGW_HOST", "127.0.0.1"))
    if "VGW_PUBLIC_URL" not in values:
        if serves and not is_loopback(host):
            raise SettingsRefused(
                f"VGW_PUBLIC_URL must be set, because VGW_HOST is {host}, which others can "
                "reach: links to videos are made from it, like https://videos.example.org."
            )
        reachable = host if is_loopback(host) else "127.0.0.1"
        values["VGW_PUBLIC_URL"] = f"http://{in_url(reachable)}:{values.get('VGW_PORT', '8080')}"


def _read(variable: str, reader: Callable[[str], T], value: str) -> T:
    try:
        return reader(value)
    except ValueError as error:
        raise SettingsRefused(f"{variable}: {error}.") from None


def _sentence(error: ErrorDetails) -> str:
    variable = next((str(part) for part in error["loc"] if part in VARIABLES), "A setting")
    message = error["msg"].removeprefix("Value error, ")
    return f"{variable}: {message}."
