"""Masked texts of exceptions, and that masking takes time in proportion to the text."""

from __future__ import annotations

import math

import pytest
from langlog_executor.values import redaction as credentials
from langlog_executor.values.redaction import folders, hidden, secret_values, shown

LOOKS = 120_000_000_000
"""Characters that are looked at if each piece of a text has all that follows it searched: minutes, as one takes a nanosecond or more.
In proportion to the text masking takes two seconds at most."""
LIMIT_S = 60.0


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://me:pw@host/db", "postgres://***@host/db"),
        ("cannot reach redis://:pw@h:1, postgres://u:p@q:p@h", "cannot reach redis://***@h:1, postgres://***@h"),
        ("host=h password=pw user=me", "host=h password=*** user=me"),
        ("Authorization: Bearer abcdef123456", "Authorization: ***"),
        ("header 'authorization': 'Bearer abcdef.123-456'", "header 'authorization': ***"),
        ("got Bearer abcdef123456, twice", "got Bearer ***, twice"),
        ("{'password': 'it is long', 'user': 'me'}", "{'password': ***, 'user': 'me'}"),
        ('{"api_key": "k-1", "x": 1}', '{"api_key": ***, "x": 1}'),
        ("connect(password='a b c', port=1)", "connect(password=***, port=1)"),
        ("password: hunter2", "password: ***"),
        ("x-api-key: 12345", "x-api-key: ***"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop", "Incorrect API key provided: ***"),
        ("environ({'A': 'b', 'C': 'd'}) is odd", "environ({***}) is odd"),
        ("[Errno 2] No such file: '/home/me/app/data/x.txt'", "[Errno 2] No such file: '…/x.txt'"),
        ("cannot open /var/lib/app/x.db: busy", "cannot open …/x.db: busy"),
        (r"C:\Users\me\x.txt is missing", "…/x.txt is missing"),
        ("GET https://host/home/page failed", "GET https://host/home/page failed"),
        ("Unexpected token: foo at 5", "Unexpected token: foo at 5"),
        ("max_tokens=5 is too few", "max_tokens=5 is too few"),
    ],
)
def test_credentials_and_folders_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert hidden(text) == masked


def test_secret_values_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "APP_KEY": "correct horse",
        "MODE": "production",
        "OTHER": "a1" * 12,
        "SHORT_TOKEN": "abc",
        "DB_PASS": "horse staple",
    }
    assert set(secret_values(values)) == {"correct horse", "a1" * 12, "horse staple"}
    monkeypatch.setattr(credentials, "_secrets_here", lambda: secret_values(values))
    assert hidden("no horse staple in production") == "no *** in production"


def test_the_folders_of_the_process_are_masked(tmp_path: object) -> None:
    pattern = folders([str(tmp_path), "/", ""])
    assert pattern is not None
    assert pattern.sub("…/", f"in {tmp_path}/a/b.py") == "in …/a/b.py"


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a",
            "a:",
            "://",
            "a://",
            "a://b",
            "a@",
            " ",
            "password",
            "password ",
            "password=",
            "password='",
            "token = ",
            "'token': ",
        ),
        *(
            "secret:'x",
            "Bearer ",
            "bearer a ",
            "environ({",
            "/home/a",
            "/home/",
            "/tmp/",
            "C:\\",
            "sk-",
            "eyJaaaaaaaaaa.",
            "api_key",
        ),
        *(
            "_api",
            "pass_",
            "authorization: ",
            "authorization: Bearer ",
            "\\",
            "'",
            '"',
            "\n",
            "é",
            "x-api-key",
            "/",
            "pwd=(",
            "b'",
        ),
    ],
)
@pytest.mark.timeout(LIMIT_S)
def test_masking_takes_time_in_proportion_to_the_text(piece: str) -> None:
    """It ends at all."""
    pieces = math.isqrt(2 * LOOKS // len(piece))
    hidden(piece * pieces)


def test_a_shown_text_is_cut_without_showing_half_a_credential() -> None:
    text = "x" * 90 + " postgres://me:" + "p" * 50 + "@host"
    assert "ppp" not in shown(text, 130)
    assert len(shown("x" * 10**7, 100)) == 100
    assert shown("caf\udce9") == "caf\\udce9"
