"""Another version of langlog and this tree on one log: in turns, and side by side as in a rolling deploy."""
