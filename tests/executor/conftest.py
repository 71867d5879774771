"""The log, read model and their owners of ``tests/checkpoints``, for the worker's other parts."""

from tests.checkpoints.conftest import backbone, io, settings  # noqa: F401
