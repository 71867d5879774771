"""Answers to gateways' queries that need a graph."""
