"""Releases of langgraph that are installed in spite of what langlog supports."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from langlog_executor.values import library_features
from langlog_executor.values.library_features import unsupported_releases


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def of(name: str) -> str:
        return versions.get(name.replace("-", "_")) or version(name)

    monkeypatch.setattr(library_features, "version", of)


def test_the_releases_of_these_tests_are_supported() -> None:
    assert unsupported_releases() == {}


def test_older_and_newer_releases_are_named_with_what_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, langgraph="0.6.11", langgraph_sdk="9.0")
    assert set(unsupported_releases()) == {"langgraph 0.6.11", "langgraph-sdk 9.0"}
    assert ">=1" in unsupported_releases()["langgraph 0.6.11"]


def test_a_release_candidate_within_the_range_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, langgraph="1.3.0rc1")
    assert unsupported_releases() == {}
