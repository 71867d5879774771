"""Generative UI: the components that ``ui`` of langgraph.json names, bundled for browsers and served under ``/ui``."""
