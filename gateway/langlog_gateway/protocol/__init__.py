"""The streaming protocol (API.md 9), over HTTP and WebSocket."""
