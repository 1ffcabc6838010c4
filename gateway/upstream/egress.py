"""The way out: through the proxy that the environment names for a host, or straight.

One decision for every connection, so that what was decided of a link is also what happens.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine, by its name or its literal address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def egress_proxy(url: str) -> str | None:
    """The proxy of `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` for a URL, unless `NO_PROXY` says no.

    Never one for this machine itself: no proxy could reach the same loopback.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
