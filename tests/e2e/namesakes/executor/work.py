from schemas import State


def work(state: State) -> State:
    return {"text": "worked on " + state["text"]}
