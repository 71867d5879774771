"""The user's project: langgraph.json, imports, and what it says of webhooks, time to live and the store's index."""
