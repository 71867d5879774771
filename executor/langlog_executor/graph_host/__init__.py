"""Graphs in JavaScript and TypeScript: the process of Node that runs them, and what crosses between it and this one."""
