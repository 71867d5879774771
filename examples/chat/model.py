"""Which chat model: a real provider's when its key is set, else the scripted one."""

import os

from langchain_core.language_models.chat_models import BaseChatModel
from scripted import ScriptedChatModel

PROVIDERS = {
    "OPENAI_API_KEY": ("openai:gpt-4.1-mini", "langchain langchain-openai"),
    "ANTHROPIC_API_KEY": ("anthropic:claude-haiku-4-5", "langchain langchain-anthropic"),
}
"""Key -> (model unless CHAT_MODEL says another, packages it needs)."""


def chat_model() -> BaseChatModel:
    for key, (name, packages) in PROVIDERS.items():
        if os.environ.get(key):
            try:
                from langchain.chat_models import init_chat_model

                return init_chat_model(os.environ.get("CHAT_MODEL", name))
            except ImportError as error:
                raise ImportError(f"{key} is set, but its model cannot be used: pip install {packages}") from error
    return ScriptedChatModel()
