"""The example's model: scripted, whatever keys the shell holds, unless CHAT_MODEL names another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHAT = Path(__file__).parents[2] / "examples" / "chat"
KEYS = {"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-x", "GOOGLE_API_KEY": "x"}


def model(**env: str) -> subprocess.CompletedProcess[str]:
    code = "import model; print(type(model.chat_model()).__name__)"
    around = {k: v for k, v in os.environ.items() if k != "CHAT_MODEL"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=CHAT, env={**around, **env}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("env", [{}, KEYS, {**KEYS, "CHAT_MODEL": ""}, {**KEYS, "CHAT_MODEL": "scripted"}])
def test_a_key_alone_changes_nothing(env: dict[str, str]) -> None:
    assert model(**env).stdout == "ScriptedChatModel\n"


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("openai:gpt-4.1-mini", "langchain langchain-openai"),
        ("anthropic:claude-haiku-4-5", "langchain langchain-anthropic"),
        ("ollama:llama3", "langchain langchain-ollama"),
    ],
)
def test_a_model_that_is_asked_for_is_taken_or_its_packages_are_named(name: str, packages: str) -> None:
    said = model(CHAT_MODEL=name, **KEYS)
    if said.returncode == 0:  # its packages are installed
        assert said.stdout.startswith("Chat")
    else:
        assert f"ImportError: CHAT_MODEL={name} needs more packages: pip install {packages}" in said.stderr
