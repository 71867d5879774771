"""Authentication that hands tokens for other services to the graph, as LangGraph's documentation proposes."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None):
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no credentials")
    return {"identity": authorization, "team": "blue", "upstream": {"token": f"MEMBER-TOKEN-OF-{authorization}"}}


@auth.on
async def everything(ctx, value):
    return None
