"""Uses its caller's credentials, and says what it could see of them without giving them away."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


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
