"""An application of FastAPI's: it makes a document of itself."""

import sys
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from langgraph_sdk import get_client
from pydantic import BaseModel

lives = []
server = get_client()


class Order(BaseModel):
    """An order."""

    pieces: int


@asynccontextmanager
async def lifespan(app):
    lives.append("up")
    yield {"from_lifespan": "kept"}
    lives.append("down")


app = FastAPI(title="orders", lifespan=lifespan)


@app.post("/orders/{order_id}", tags=["orders"])
async def order(order_id: str, body: Order) -> Order:
    return Order(pieces=body.pieces + 1)


class Thread(BaseModel):
    """Named as a type of the server's own."""

    colour: str


@app.post("/sew")
async def sew(body: Thread) -> list[Thread]:
    return [body]


@app.post("/enter/{name}")
async def enter(name: str) -> str:
    """Create a thread by the server's own API."""
    thread = await server.threads.create(metadata={"entered": name})
    return (await server.threads.get(thread["thread_id"]))["metadata"]["entered"]


@app.get("/leave")
async def leave() -> str:
    sys.exit(1)


@app.websocket("/leave")
async def leave_socket(socket: WebSocket) -> None:
    await socket.accept()
    sys.exit(1)


@app.get("/lives")
async def shown() -> list[str]:
    return lives


@app.get("/info")
async def info() -> dict[str, str]:
    return {"version": "own"}


@app.websocket("/talk")
async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
