"""Everybody with the password is in."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    if authorization != "Bearer in":
        raise Auth.exceptions.HTTPException(status_code=401, detail="not in")
    return "somebody"
