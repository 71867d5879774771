"""Keeps web pages away from a server without authentication.

Every page in a browser can send requests to the servers of its user's machine and network: directly, or by a name of its own that
it lets resolve to their address (DNS rebinding). A server without authentication therefore refuses names that are not its own
and requests of unknown pages. Programs send no ``Origin`` and are not affected. Pure: no I/O.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from langlog_backbone.process.settings import Settings
from multidict import CIMultiDict, CIMultiDictProxy

from .cors import Cors, is_local, origin_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
"""Content types that a form of a page can send without a preflight."""
HOSTS_REMEMBERED = 100
"""Maximum number of texts of ``Host`` whose judgement is remembered."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/?#\s]+)(:\d{1,5})?", re.IGNORECASE)

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


class BrowserGuard:
    def __init__(self, settings: Settings, cors: Cors, machine: str) -> None:
        """``machine``: host name of this machine."""
        self._cors = cors
        bound = settings.host.lower()
        self._beyond = not is_loopback(bound)
        names = {name for name in (bound, machine.lower(), urlsplit(settings.base_url).hostname) if name}
        named = [name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()]
        self._names = names | set(named)
        self._below = tuple(name[1:] for name in named if name.startswith("*."))
        self._any_host = "*" in named
        # requests of one client name the same host; what others make up takes the place of what was not named for longest
        self._admits_host = lru_cache(HOSTS_REMEMBERED)(self._judge_host)

    def refusal(self, method: str, headers: Headers) -> str | None:
        """Return why a request is refused, or None."""
        if (foreign := self.foreign_host(headers)) is not None:
            return foreign
        if self._cors.admits_any:
            return None
        host = headers.get("host", "")
        origins = headers.getall("origin", ())
        cross_site = headers.get("sec-fetch-site", "").lower() == "cross-site"
        if not origins and cross_site and not (method in SAFE and _is_link(headers)):
            return "A request of another site's page is refused: this server authenticates nobody"
        if not origins and method not in SAFE:
            if "referer" in headers:
                origins = [origin_of(headers["referer"])]
            elif _is_form(headers):
                return "A form of a web page is refused: this server authenticates nobody"
        for origin in origins:
            if not (self._cors.admits(origin) or is_local(origin) or _is_same(origin, host)):
                return (
                    f"Origin {origin[:200]!r} may not use this server, which authenticates nobody: "
                    "name it in CORS_ALLOW_ORIGINS or http.cors, or configure authentication (auth.path)"
                )
        return None

    def foreign_host(self, headers: Headers) -> str | None:
        """Return why the ``Host`` of the request is refused; None for the server's own."""
        for host in headers.getall("host", ()):
            if not self._admits_host(host):
                return (
                    f"Host {host[:200]!r} is not a name of this server, which authenticates nobody: "
                    "name it in LANGLOG_ALLOWED_HOSTS, or configure authentication (auth.path)"
                )
        return None

    def _judge_host(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts.group(1).strip("[]").lower().rstrip(".")
        if self._any_host or name in self._names or name.endswith(self._below) or is_loopback(name):
            return True
        # rebinding needs a name in the public DNS: neither an address nor a name without a dot is one
        return self._beyond and ("." not in name or _address(name) is not None)


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is None:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_same(origin: str, host: str) -> bool:
    """Return whether the origin is this server itself, whose ``Host`` has been checked."""
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower() != ""


def _is_link(headers: Headers) -> bool:
    """Return whether the request follows a link: no page reads the response. Embedded images, scripts and frames are no links."""
    mode, destination = headers.get("sec-fetch-mode", "navigate"), headers.get("sec-fetch-dest", "document")
    return mode.lower() == "navigate" and destination.lower() == "document"


def _is_form(headers: Headers) -> bool:
    """Return whether an old browser may have sent a form: newer ones send its origin."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in FORM_TYPES and "text/html" in headers.get("accept", "").lower()
