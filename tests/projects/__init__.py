"""Projects: langgraph.json checked, and new ones from templates."""
