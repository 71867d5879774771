"""Responses of the API: the Structs that are encoded as responses and that the OpenAPI document is generated from.

Big members (values, kwargs, output) come from Postgres as JSON text and stay `Raw`: msgspec copies them into the response unparsed. No
member is required where ``select`` is supported, since the response may then hold any of the members.
"""
