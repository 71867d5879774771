"""Whole worlds of langlog in one thread, in virtual time, under seeded faults: docs/explanation/proof.md, tests/README.md."""
