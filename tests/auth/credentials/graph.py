"""A graph that uses its caller's credentials, and reports which of them it sees without revealing them."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

try:
    from langgraph_sdk.runtime import ServerRuntime
except ImportError:  # langgraph-sdk < 0.3.6
    ServerRuntime = None


class State(TypedDict, total=False):
    saw: Any


def look(state: State, config: RunnableConfig) -> State:
    configurable = config["configurable"]
    user = configurable["langgraph_auth_user"]
    saw = {
        "member": len(user["upstream"]["token"]),
        "header": len(configurable["x-upstream-key"]),
        "colour": configurable["x-colour"],
        "team": user.team,
    }
    interrupt("go on?")
    return {"saw": saw}


graph = StateGraph(State).add_node("look", look).add_edge(START, "look").compile()


def by_runtime(runtime: ServerRuntime) -> Any:
    """A graph for each user, who has to be known whatever the graph is made for."""
    if ServerRuntime is None:
        return _owned(runtime["configurable"]["langgraph_auth_user"]["identity"])
    return _owned(runtime.ensure_user().identity)


def by_config(config: RunnableConfig) -> Any:
    return _owned(config["configurable"]["langgraph_auth_user"]["upstream"]["token"][-5:])


def by_tone(config: RunnableConfig) -> Any:
    return _owned(config["configurable"].get("tone", "none"))


def _owned(name: str) -> Any:
    def ask(state: State) -> State:
        return {"saw": [name, interrupt("go on?")]}

    return StateGraph(State).add_node(f"ask_{name}", ask).add_edge(START, f"ask_{name}").compile()
