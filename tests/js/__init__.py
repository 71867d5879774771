"""Graphs in JavaScript and TypeScript."""
