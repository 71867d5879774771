"""Allowed targets of webhooks: the rules of the wire contract (§12), and known attacks on them."""

from __future__ import annotations

import pytest
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.webhook_policy import (
    BLOCKED_RANGE,
    LOCALHOST,
    LOOPBACK_RANGE,
    NO_BASE_URL,
    PRIVATE_RANGE,
    RELATIVE_DISABLED,
    WebhookPolicy,
    WebhookRefused,
    webhook_headers,
    webhook_policy,
    webhook_section,
)
from langlog_scheduler.webhook_body import signature, signing_key


def policy(**section: object) -> WebhookPolicy:
    settings = section.pop("settings", Settings())
    assert isinstance(settings, Settings)
    return webhook_policy(webhook_section(section), settings)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/x", "Webhook host blocked: scheme 'ftp' not allowed"),
        ("not a url", "Invalid webhook hostname ''"),
        ("//evil.example/x", "Invalid webhook hostname 'evil.example'"),
        ("http:///x", "Invalid webhook hostname ''"),
        ("http://127.0.0.1:2129/hook", LOOPBACK_RANGE),
        ("http://127.8.8.8/hook", LOOPBACK_RANGE),
        ("http://127.1/hook", LOOPBACK_RANGE),
        ("http://loc%61lhost/hook", "Invalid webhook hostname 'loc%61lhost'"),
        ("http://2130706433/hook", LOOPBACK_RANGE),
        ("http://0x7f000001/hook", LOOPBACK_RANGE),
        ("http://[::1]/hook", LOOPBACK_RANGE),
        ("http://[::ffff:127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[64:ff9b::7f00:1]/hook", LOOPBACK_RANGE),
        ("http://[2002:7f00:1::]/hook", LOOPBACK_RANGE),
        ("http://[::ffff:0:127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[::127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[64:ff9b::127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[64:ff9b:1::127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[64:ff9b:1:7f00:0:100::1]/hook", BLOCKED_RANGE),
        ("http://[64:ff9b:1:a9fe:a9:fe00::]/hook", BLOCKED_RANGE),
        ("http://[2001:0:808:808::80ff:fffe]/hook", LOOPBACK_RANGE),
        ("http://[2001:0:7f00:1::f7f7:f7f7]/hook", LOOPBACK_RANGE),
        ("http://[2001:0:808:808::5601:5601]/hook", BLOCKED_RANGE),
        ("http://[2001:4860::5efe:127.0.0.1]/hook", LOOPBACK_RANGE),
        ("http://[2001:4860::200:5efe:169.254.169.254]/hook", BLOCKED_RANGE),
        ("http://[2002:a9fe:a9fe::1]/hook", BLOCKED_RANGE),
        ("http://[::ffff:0:169.254.169.254]/hook", BLOCKED_RANGE),
        ("http://[3fff::1]/x", BLOCKED_RANGE),
        ("http://localhost:2129/hook", LOCALHOST),
        ("http://LOCALHOST./hook", LOCALHOST),
        ("http://a.localhost/hook", LOCALHOST),
        ("/relative", RELATIVE_DISABLED),
        ("http://169.254.169.254/x", BLOCKED_RANGE),
        ("http://[::ffff:169.254.169.254]/x", BLOCKED_RANGE),
        ("http://[fe80::1]/x", BLOCKED_RANGE),
        ("http://[fd00:ec2::254]/x", BLOCKED_RANGE),
        ("http://0.0.0.0/x", BLOCKED_RANGE),
        ("http://100.100.100.200/x", BLOCKED_RANGE),
        ("http://224.0.0.1/x", BLOCKED_RANGE),
        ("http://user:pass@169.254.169.254/x", BLOCKED_RANGE),
    ],
)
def test_an_address_that_leads_inside_is_refused(url: str, why: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        policy().target(url)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/x",
        "https://example.com/a?b=c",
        "http://192.168.1.1",
        "http://8.8.8.8",
        "http://[2606:4700::1111]",
        "http://[64:ff9b::808:808]",
    ],
)
def test_others_are_allowed(url: str) -> None:
    assert str(policy().target(url)).rstrip("/") == url


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "[fd12::1]", "[::ffff:0:10.0.0.1]", "[64:ff9b::a00:1]"],
)
def test_private_networks_are_refused_when_that_is_asked_for(host: str) -> None:
    with pytest.raises(WebhookRefused, match=PRIVATE_RANGE):
        policy(settings=Settings(webhook_block_private=True)).target(f"http://{host}/x")


def test_loopback_can_be_allowed_and_special_ranges_stay_refused() -> None:
    allowed = policy(
        url={"disable_loopback": False, "require_https": False}, settings=Settings(base_url="http://here:1")
    )
    assert str(allowed.target("http://127.0.0.1:1/x")) == "http://127.0.0.1:1/x"
    assert str(allowed.target("http://localhost/x")) == "http://localhost/x"
    assert str(allowed.target("/hook?a=b")) == "http://here:1/hook?a=b"
    for url in ("http://169.254.169.254/x", "//evil.example/x", "/\\evil.example/x"):
        with pytest.raises(WebhookRefused):
            allowed.target(url)


def test_a_relative_address_needs_a_base() -> None:
    with pytest.raises(WebhookRefused, match=NO_BASE_URL.split(":")[0]):
        policy(url={"disable_loopback": False}).target("/hook")


def test_any_url_rule_turns_on_https_unless_it_says_otherwise() -> None:
    policy().target("http://example.com/")
    policy(url={"allowed_ports": [80], "require_https": False}).target("http://example.com/")
    with pytest.raises(WebhookRefused, match="Webhook must use https"):
        policy(url={}).target("http://example.com/")


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"allowed_domains": ["*.x.com", "y.org"]}, "https://a.b.x.com/", "https://evilx.com/"),
        ({"allowed_domains": ["*.x.com", "y.org"]}, "https://Y.org/", "https://x.com.evil.org/"),
        ({"allowed_ports": [443, 8443]}, "https://x.com/", "https://x.com:9000/"),
        ({"max_url_length": 30}, "https://x.com/", "https://x.com/" + "a" * 30),
    ],
)
def test_domains_ports_and_length_can_be_limited(rules: dict[str, object], good: str, bad: str) -> None:
    limited = policy(url=rules)
    limited.target(good)
    with pytest.raises(WebhookRefused):
        limited.target(bad)


def test_headers_take_variables_with_the_prefix_alone() -> None:
    section = webhook_section({"headers": {"X-A": "a ${{ env.LG_WEBHOOK_A }} b", "X-B": "plain"}})
    assert webhook_headers(section, {"LG_WEBHOOK_A": "1"}) == {"X-A": "a 1 b", "X-B": "plain"}
    with pytest.raises(StartError, match="LG_WEBHOOK_A is not set"):
        webhook_headers(section, {})
    with pytest.raises(StartError, match="does not begin with LG_WEBHOOK_"):
        webhook_headers(webhook_section({"headers": {"X": "${{ env.AWS_SECRET }}"}}), {"AWS_SECRET": "s"})
    with pytest.raises(StartError, match="not a header"):
        webhook_headers(section, {"LG_WEBHOOK_A": "a\r\nX-Evil: 1"})


def test_a_section_of_the_wrong_shape_stops_the_start() -> None:
    with pytest.raises(StartError, match="webhooks"):
        webhook_section({"url": {"allowed_ports": "443"}})


def test_the_signature_is_that_of_the_standards_example() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    with pytest.raises(StartError, match="base64"):
        signing_key("whsec_nö")
