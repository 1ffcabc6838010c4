"""What a single setting may be: addresses, hosts, ports, networks, keys.

Every function takes the text as it was given and returns the value; `ValueError` says in words
what is wrong, without ever repeating a secret.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from gateway.core.keys import ADMIN_KEY_PREFIX, KEY_PREFIX
from gateway.core.notation import size_bytes

SECRET_BYTES_MAX = 4_096
"""No key is longer; a NAME_FILE that points at a log or a device must not be swallowed whole."""
BODY_BYTES_FLOOR = 1_024
BODY_BYTES_CEILING = 2**30
"""A body is held in memory while it is parsed."""
ADMIN_KEY_CHARACTERS_MIN = 8
"""Shorter ones can be guessed over the network."""

_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\$?\{.*\}|\$\w+|.*(\.\.\.|…).*|(sk-)?x{3,}|\*+|change[-_]?(me|it)|replace[-_]?me"
    r"|placeholder|todo|(insert[-_])?(your|my)[-_]?([a-z]{1,12}[-_]){0,3}(key|token|secret)([-_]?here)?"
    r"|(venice[-_])?api[-_]?key",
    re.IGNORECASE,
)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".test")
"""Names that never leave a machine or a network of one's own (RFC 6761, 6762; ICANN 2024)."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def read_host(value: str) -> str:
    """A name or address to listen on; the brackets of an IPv6 address are dropped."""
    host = value.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise ValueError(f"{value!r} is not a host name or address to listen on") from None
    return host


def in_url(host: str) -> str:
    """The host as it stands in an address: IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def read_port(value: str) -> int:
    """A port to listen on; 0 for any free one."""
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65_535:
        raise ValueError(f"{value!r} is not a port number (0 to 65535, 0 for any free one)")
    return int(value)


def read_address(value: str) -> str:
    """An http(s) address without a trailing slash."""
    wrong = ValueError("it is not an address like https://example.org, without user, ? or #")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise wrong
    if not value.isascii() or not value.isprintable() or set(value) & set(" ?#\\"):
        raise wrong
    return value.rstrip("/")


def read_upstream(value: str) -> str:
    """The address of Venice: https, or plain http within a network of one's own."""
    address = read_address(value)
    parts = urlsplit(address)
    if parts.scheme == "http" and not _is_private(parts.hostname or ""):
        raise ValueError(
            f"plain http to {parts.hostname} would send the organization's key readable over the "
            "internet; use https"
        )
    return address


def read_networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks, separated by commas or spaces."""
    try:
        return tuple(ip_network(item) for item in re.split(r"[,\s]+", value) if item)
    except ValueError as error:
        raise ValueError(f"{error}; write addresses or networks like 10.0.0.0/8") from None


def read_body_bytes(value: str) -> int:
    """The largest request body, in bytes."""
    size = size_bytes(value)
    if not BODY_BYTES_FLOOR <= size <= BODY_BYTES_CEILING:
        raise ValueError(f"{value} is not between 1KiB and 1GiB")
    return size


def read_folder(value: str) -> Path:
    """A folder; `~` begins at somebody's home."""
    if "\0" in value:
        raise ValueError(f"{value!r} is no path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"{value!r} begins at a home that is not known") from None


def database_path(url: str) -> str:
    """The file of a `sqlite:///PATH` address; four slashes begin an absolute path."""
    if url.startswith(("postgresql:", "postgres:")):
        raise ValueError("the PostgreSQL store is not built in yet; use sqlite:///PATH")
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path == ":memory:" or "?" in path or "\0" in path:
        raise ValueError("it is no address like sqlite:///data/gateway.db")
    return path


def video_path(url: str) -> str:
    """The folder of a `file://PATH` address."""
    if url.startswith("s3:"):
        raise ValueError("the S3 store is not built in yet; use file://PATH")
    path = url.removeprefix("file://")
    if path == url or not path or "\0" in path:
        raise ValueError("it is no address like file:///srv/videos")
    return path


def check_secret(value: str) -> None:
    """Return if the value can be a key at all."""
    if not value:
        raise ValueError("it is set but empty; give the key or unset it")
    if len(value) > SECRET_BYTES_MAX:
        raise ValueError("it is longer than any key")
    if _PLACEHOLDER.fullmatch(value):
        raise ValueError("it still holds a placeholder; put the real key there")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(
            "it has a space, a line break or another character that no key has; paste it again"
        )


def check_venice_key(value: str) -> None:
    """Return if the value can be a key of Venice's."""
    check_secret(value)
    if value.startswith((KEY_PREFIX, ADMIN_KEY_PREFIX)):
        raise ValueError(
            "it holds a key that this gateway gave out. Such a key opens the gateway, not Venice "
            "behind it; put the organization's own Venice key there"
        )


def check_admin_key(value: str) -> None:
    """Return if the value can be the administration's key."""
    check_secret(value)
    if value.startswith(KEY_PREFIX):
        raise ValueError("it holds a user's key; the admin key must be another one")
    if len(value) < ADMIN_KEY_CHARACTERS_MIN:
        raise ValueError(f"it is shorter than {ADMIN_KEY_CHARACTERS_MIN} characters")
