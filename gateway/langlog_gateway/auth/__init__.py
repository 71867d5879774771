"""Who calls, what they may see, and what they may do."""
