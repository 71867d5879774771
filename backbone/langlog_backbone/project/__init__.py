"""The user's project: langgraph.json, imports, and its sections on webhooks, time to live and the store's index."""
