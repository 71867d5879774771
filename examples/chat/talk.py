"""Talk to the chat agent in the terminal, through the official SDK: python talk.py [URL]"""

import asyncio
import sys

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient


async def say(client: LangGraphClient, thread_id: str, **what: object) -> None:
    """One run, printed as it streams."""
    async for part in client.runs.stream(thread_id, "chat", stream_mode="messages-tuple", **what):
        if part.event == "messages":
            message, metadata = part.data
            if metadata.get("langgraph_node") == "talk":
                print(message["content"], end="", flush=True)
    print()


async def main(url: str) -> None:
    client = get_client(url=url)
    thread_id = (await client.threads.create())["thread_id"]
    while text := await asyncio.to_thread(ask, "you: "):
        await say(client, thread_id, input={"messages": [{"role": "user", "content": text}]})
        while waiting := (await client.threads.get(thread_id))["interrupts"]:
            for interrupts in waiting.values():
                for call in interrupts[0]["value"]["calls"]:
                    print(f"  it wants: {call['name']} {call['args']}")
            await say(client, thread_id, command={"resume": await asyncio.to_thread(ask, "  yes or no: ")})


def ask(prompt: str) -> str:
    """A line from the human; empty at the end."""
    try:
        return input(prompt)
    except EOFError:
        return ""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:2024"))
