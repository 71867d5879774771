"""The streaming protocol (wire contract §9), over HTTP and WebSocket."""
