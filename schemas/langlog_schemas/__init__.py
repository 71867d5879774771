"""The language every part of langlog speaks: commands, events, aggregates, frames.

Needs msgspec alone, so that a consumer of the run-event topics can import the types
and decoders without the server. Imports nothing of the other packages.
"""
