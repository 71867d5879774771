"""Projects: checks of a langgraph.json, and new ones from templates."""
