from tests.gateway.conftest import make_stack

__all__ = ["make_stack"]
