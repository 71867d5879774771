"""Sends one webhook: a POST within a time limit, to no address that the policy forbids, following no redirect.

The guard checks the addresses that the name resolves to when it connects, so a name that has changed its address since the
run was created is refused as well. Errors are reported in langlog's own words: an exception's text could reveal the
internal network to a client.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from langlog_backbone.history.run_view import LANGLOG_VERSION
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.webhook_policy import WebhookPolicy, WebhookRefused
from langlog_backbone.time.clock import now_ms
from langlog_backbone.time.sources import monotonic

from .webhook_body import signature, signing_key


class Try(NamedTuple):
    """Outcome of an attempt. ``hopeless``: another attempt would fail the same way."""

    delivered: bool
    duration_ms: int
    status_code: int | None = None
    error: str | None = None
    hopeless: bool = False


class AddressRefused(OSError):
    """Every address of a host is forbidden."""


class GuardedResolver(AbstractResolver):
    def __init__(self, policy: WebhookPolicy) -> None:
        self._policy = policy
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        allowed, why = [], ""
        for address in await self._inner.resolve(host, port, family):
            try:
                self._policy.check_address(address["host"])
            except WebhookRefused as refused:
                why = str(refused)
            else:
                allowed.append(address)
        if not allowed:
            raise AddressRefused(why)
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class WebhookSender:
    """One per scheduler. `open` it on the event loop, `close` it there."""

    def __init__(self, settings: Settings, policy: WebhookPolicy, headers: Mapping[str, str]) -> None:
        self._settings, self._policy, self._headers = settings, policy, headers
        self._key = signing_key(settings.webhook_secret)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(self._policy), use_dns_cache=False, limit=self._settings.webhook_concurrency
            ),
            timeout=aiohttp.ClientTimeout(total=self._settings.webhook_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, url: str, webhook_id: str, body: bytes) -> Try:
        """Send one POST. Never raises errors of the receiver or the network."""
        assert self._session is not None
        began = monotonic()

        def ended(status: int | None = None, error: str | None = None, *, hopeless: bool = False) -> Try:
            return Try(error is None, round((monotonic() - began) * 1000), status, error, hopeless)

        try:
            async with self._session.post(
                self._policy.target(url), data=body, headers=self._headers_for(webhook_id, body), allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    return ended(answer.status)
                redirect = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
                return ended(answer.status, f"answered {answer.status}{redirect}")
        except WebhookRefused as refused:
            return ended(error=str(refused), hopeless=True)
        except TimeoutError:
            return ended(error=f"no answer within {self._settings.webhook_timeout_s:g} s")
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, AddressRefused):
                return ended(error=str(error.os_error), hopeless=True)
            return ended(error="the host name does not resolve")
        except aiohttp.ClientSSLError:
            return ended(error="TLS failed")
        except aiohttp.ClientConnectorError:
            return ended(error="cannot connect")
        except (aiohttp.ClientError, OSError):
            return ended(error="the connection broke")
        except ValueError:
            return ended(error="the address cannot be sent to", hopeless=True)

    def _headers_for(self, webhook_id: str, body: bytes) -> dict[str, str]:
        timestamp = now_ms() // 1000
        headers = {
            **self._headers,
            "content-type": "application/json",
            "user-agent": f"langlog/{LANGLOG_VERSION}",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
        }
        if self._key:
            headers["webhook-signature"] = signature(self._key, webhook_id, timestamp, body)
        return headers
