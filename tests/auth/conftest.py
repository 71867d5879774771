from tests.gateway.conftest import make_stack, make_stack_on_both

__all__ = ["make_stack", "make_stack_on_both"]
