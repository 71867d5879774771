"""An operator's tools: rebuild, verify, cut, replay, why, dead letters, keys."""
