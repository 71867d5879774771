"""Writes docs/explanation/proof.md of what was tried: ``python -m tests.proof``. Each section is a module of `sections`, and its figures are
a file in docs/explanation/proof."""
