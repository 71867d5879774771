"""Request bodies by endpoint (wire contract §2 to §5 and §11). Unknown members are ignored; null is only what the type allows.

Members that are only handed on stay ``Raw``.
"""
