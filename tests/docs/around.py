"""Code around samples that stand in the middle of something: name -> what runs before the sample.

A sample that a page shows without its beginnings names one of these in its comment: ``<!-- test: with NAME -->``. ``URL`` is the
address of the server.
"""

AROUND: dict[str, str] = {
    "client": "from langgraph_sdk import get_client\nclient = get_client(url=URL)\n",
    "builder": (
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "builder = StateGraph(MessagesState)\nbuilder.add_edge(START, 'agent')\n"
    ),
    "auth": "from langgraph_sdk import Auth\nauth = Auth()\n",
}
