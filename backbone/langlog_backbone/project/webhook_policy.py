"""Allowed targets of webhooks (wire contract §12): the section ``webhooks`` of langgraph.json, and the guard against internal addresses.

Applied twice: by the gateway when a run is created, to the URL as it is written, and by the scheduler when it sends, to the
addresses that the name resolves to then. Pure but for reading the configuration.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping

import msgspec
from yarl import URL

from ..process.service import StartError
from ..process.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK_RANGE = "Webhook host blocked: loopback IP range"
LOCALHOST = "Webhook host blocked: localhost address"
BLOCKED_RANGE = "Webhook host blocked: blocked IP range"
PRIVATE_RANGE = "Webhook host blocked: private IP range"
RELATIVE_DISABLED = (
    "Loopback webhooks (relative URLs and localhost) are disabled by default. They bypass authentication via the "
    "in-process ASGI transport and can be abused to invoke internal routes as an unauthenticated caller. Set "
    "webhooks.url.disable_loopback to false (in langgraph.json or via LANGGRAPH_WEBHOOKS) to opt back in — only do so "
    "when you control the mounted routes."
)
NO_BASE_URL = "Relative webhooks need LANGLOG_BASE_URL: the address that this server reaches itself at"

SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.100.100.200/32",  # metadata service of a cloud, within shared address space
            "169.254.0.0/16",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            "::/128",
            "100::/64",
            "2001:2::/48",
            "2001:10::/28",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
            "fd00:ec2::254/128",  # metadata service of a cloud, within private address space
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)
"""Networks that are never allowed: link-local with metadata services, multicast, reserved, documentation."""
PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
_IN_LAST_BITS = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 of a network's own, where its prefix has 96 bits
        ),
    )
)
"""Networks whose addresses have an IPv4 address in their last 32 bits."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""The third 32 bits of an address that tunnels to the IPv4 address in its last ones, in any network."""
_TEMPLATE = re.compile(r"\$\{\{\s*env\.([A-Za-z_]\w*)\s*\}\}")


class WebhookRefused(ValueError):
    """This target is not allowed; the message gives the reason."""


class UrlRules(msgspec.Struct, frozen=True):
    """``webhooks.url``. ``require_https`` applies as soon as the section exists."""

    require_https: bool = True
    allowed_domains: list[str] | None = None
    allowed_ports: list[int] | None = None
    max_url_length: int | None = None
    disable_loopback: bool = True


class WebhookSection(msgspec.Struct, frozen=True):
    """``webhooks``."""

    env_prefix: str = "LG_WEBHOOK_"
    url: UrlRules | None = None
    headers: dict[str, str] = {}


class WebhookPolicy(msgspec.Struct, frozen=True, kw_only=True):
    rules: UrlRules
    block_private: bool = False
    base_url: str = ""

    def target(self, text: str) -> URL:
        """Return the absolute URL to send to. Raises WebhookRefused."""
        rules = self.rules
        if rules.max_url_length is not None and len(text) > rules.max_url_length:
            raise WebhookRefused(f"Webhook URL exceeds {rules.max_url_length} characters")
        if text.startswith("/") and text[1:2] not in ("/", "\\"):
            if rules.disable_loopback:
                raise WebhookRefused(RELATIVE_DISABLED)
            if not self.base_url:
                raise WebhookRefused(NO_BASE_URL)
            return URL(self.base_url).origin().join(URL(text))
        try:
            url = URL(text)
            host, port = url.host or "", url.port
        except ValueError as error:
            raise WebhookRefused(f"Invalid webhook URL: {error}") from None
        if url.scheme and url.scheme not in ("http", "https"):
            raise WebhookRefused(f"Webhook host blocked: scheme {url.scheme!r} not allowed")
        if (
            not host or not url.scheme or ("%" in host and ":" not in host)
        ):  # escapes, which are no zone of an IPv6 address
            raise WebhookRefused(f"Invalid webhook hostname {host!r}")
        self._check_host(host.rstrip(".").lower())
        if rules.require_https and url.scheme != "https":
            raise WebhookRefused("Webhook must use https")
        if rules.allowed_domains is not None and not any(_matches(host, domain) for domain in rules.allowed_domains):
            raise WebhookRefused(f"Webhook domain not allowed: {host!r}")
        if rules.allowed_ports is not None and port not in rules.allowed_ports:
            raise WebhookRefused(f"Webhook port not allowed: {port}")
        return url

    def check_address(self, address: str) -> None:
        """Check whether a connection may go to this IP address. Raises WebhookRefused."""
        for reached in _reached(ipaddress.ip_address(address.partition("%")[0])):
            self._check_range(reached)

    def _check_range(self, address: Address) -> None:
        if address.is_loopback:
            if self.rules.disable_loopback:
                raise WebhookRefused(LOOPBACK_RANGE)
            return
        if any(address in network for network in SPECIAL if network.version == address.version):
            raise WebhookRefused(BLOCKED_RANGE)
        if self.block_private and any(address in network for network in PRIVATE if network.version == address.version):
            raise WebhookRefused(PRIVATE_RANGE)

    def _check_host(self, host: str) -> None:
        address = _as_address(host)
        if address is not None:
            self.check_address(address)
        elif self.rules.disable_loopback and (host == "localhost" or host.endswith(".localhost")):
            raise WebhookRefused(LOCALHOST)


def _as_address(host: str) -> str | None:
    """Return the IP address that a host is, in any spelling that a resolver accepts (``127.1``, ``0x7f000001``)."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host and host[0].isdigit() else None
    except OSError:
        return None


def _reached(address: Address) -> list[Address]:
    """Return the addresses that a packet may reach: this one, or the IPv4 ones that it carries in a form known to
    translators and tunnels."""
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:  # unspecified and loopback carry none
        return [address]
    bits = int(address)
    carried: list[int] = []
    if any(address in network for network in _IN_LAST_BITS) or bits >> 32 & 0xFFFFFFFF in _ISATAP:
        carried.append(bits & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:  # of 48 bits: around the octet that is always zero (RFC 6052)
        carried.append((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)
    if address.sixtofour is not None:
        carried.append(int(address.sixtofour))
    if address.teredo is not None:
        carried += map(int, address.teredo)
    return [ipaddress.IPv4Address(each) for each in carried] or [address]


def _matches(host: str, domain: str) -> bool:
    host, domain = host.rstrip(".").lower(), domain.lower()
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


def webhook_section(config: Mapping[str, object]) -> WebhookSection:
    """Return the section of the configuration. Raises StartError."""
    try:
        return msgspec.convert(config, WebhookSection)
    except msgspec.ValidationError as error:
        raise StartError(f"webhooks: {error}") from None


def webhook_policy(section: WebhookSection, settings: Settings) -> WebhookPolicy:
    rules = section.url if section.url is not None else UrlRules(require_https=False)
    return WebhookPolicy(rules=rules, block_private=settings.webhook_block_private, base_url=settings.base_url)


def webhook_headers(section: WebhookSection, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the static headers with ``${{ env.X }}`` filled in. Raises StartError for a variable that is not set or not allowed."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not name.startswith(section.env_prefix):
            raise StartError(f"webhooks.headers: {name} does not begin with {section.env_prefix} (webhooks.env_prefix)")
        if name not in environ:
            raise StartError(f"webhooks.headers: the variable {name} is not set")
        return environ[name]

    headers = {name: _TEMPLATE.sub(value, text) for name, text in section.headers.items()}
    for name, text in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]", text):
            raise StartError(f"webhooks.headers: {name!r} is not a header that can be sent")
    return headers
