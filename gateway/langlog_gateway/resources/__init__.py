"""Endpoints of everything else: assistants, crons, the store, webhooks, the server itself."""
