"""Projects: what is wrong with a langgraph.json, and new ones from templates."""
