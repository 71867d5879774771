"""Assistants as tools (MCP) and as agents (A2A)."""
