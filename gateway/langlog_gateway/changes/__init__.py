"""The live feed of list changes: ``GET /changes``."""
