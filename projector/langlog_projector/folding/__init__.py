"""Folding: events become changes of rows, in log order, without queries."""
