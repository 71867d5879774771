"""Graphs in JavaScript and TypeScript: the process of Node that runs them, and the messages between it and this one."""
