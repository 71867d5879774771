"""SQL of searches and listings of the store."""

from __future__ import annotations

import pytest
from langlog_backbone.postgres.database import Parameters
from langlog_backbone.store.conditions import BadFilter, pattern_filter, prefix_filter, value_filter


def test_filters_name_values_only_as_parameters() -> None:
    parameters = Parameters()
    conditions = value_filter({"a": 1, "b": {"$gt": 2}, "c": {"d'": "x"}}, parameters)
    assert len(conditions) == 3
    assert parameters.values == [["a"], "1", ["b"], "2", ["c", "d'"], '"x"']


@pytest.mark.parametrize("operand", [True, None, [1], {"a": 1}])
def test_what_has_no_order_is_not_compared(operand: object) -> None:
    with pytest.raises(BadFilter, match="needs a number or a string"):
        value_filter({"a": {"$gt": operand}}, Parameters())


def test_an_operator_that_nobody_knows_is_named() -> None:
    with pytest.raises(BadFilter, match=r"Unsupported operator: \$zz"):
        value_filter({"a": {"$zz": 1}}, Parameters())


def test_a_prefix_is_a_range_of_the_primary_key() -> None:
    parameters = Parameters()
    assert len(prefix_filter(["a", "b%"], parameters)) == 2
    assert parameters.values == [["a", "b%"], ["a", "b%\x01"]]


def test_a_pattern_is_a_range_up_to_its_first_wildcard() -> None:
    parameters = Parameters()
    pattern_filter(["a", "*", "c"], parameters, suffix=False)
    assert parameters.values == [["a"], ["a\x01"], "c"]
    parameters = Parameters()
    pattern_filter(["*", "c"], parameters, suffix=True)
    assert parameters.values == ["c"]
