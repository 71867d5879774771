"""The project's own ASGI application, around the built-in routes."""
