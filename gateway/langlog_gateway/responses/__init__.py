"""Responses of the API: the Structs that are encoded as the answers and that the OpenAPI document is made of.

Big members (values, kwargs, output) come from Postgres as JSON text and stay `Raw`: msgspec puts them into the answer unparsed. No
member is required where ``select`` is taken, since an object may be any part of itself then.
"""
