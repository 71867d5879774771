"""Which chat model: the scripted one, unless CHAT_MODEL names another (``openai:gpt-4.1-mini``, ``anthropic:claude-haiku-4-5``).

A provider's key in the environment alone changes nothing: most shells have one, and an example must neither need a package for it nor
spend money.
"""

import os

from langchain_core.language_models.chat_models import BaseChatModel
from scripted import ScriptedChatModel

PACKAGES = {"openai": "langchain langchain-openai", "anthropic": "langchain langchain-anthropic"}
"""Variables of the two best known providers."""


def chat_model() -> BaseChatModel:
    name = os.environ.get("CHAT_MODEL", "")
    if not name or name == "scripted":
        return ScriptedChatModel()
    provider = name.partition(":")[0]
    try:
        from langchain.chat_models import init_chat_model

        return init_chat_model(name)
    except ImportError as error:
        packages = PACKAGES.get(provider, f"langchain langchain-{provider}")
        raise ImportError(f"CHAT_MODEL={name} needs more packages: pip install {packages}") from error
