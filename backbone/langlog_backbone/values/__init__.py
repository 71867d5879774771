"""Bytes, texts and JSON values."""
