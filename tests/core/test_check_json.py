"""What JSON would change or lose is refused, and the place of it is named."""

import datetime
import decimal
import enum
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import JSON
from vtasks_asgi.core.envelope import MAX_DEPTH, check_json, pack, unpack


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    ONE = 1


class Markup(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self


@given(JSON)
def test_json_passes(value: Any) -> None:
    check_json(value, "it")


@pytest.mark.parametrize(
    ("value", "based_on"),
    [
        (Markup("<b>"), "<b>"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (type("Rows", (list,), {})([1]), [1]),
        (type("Bag", (dict,), {})(a=1), {"a": 1}),
    ],
)
def test_subclasses_travel_as_what_they_are_based_on(value: Any, based_on: Any) -> None:
    check_json([value], "args")
    assert unpack(pack([value], "args", max_size=1000)) == [based_on]


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        bytearray(b"bytes"),
        {1, 2},
        uuid.uuid4(),
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        datetime.timedelta(1),
        decimal.Decimal(1),
        object(),
        type("Ratio", (float,), {})(0.5),
        Plain.ONE,
        range(3),
        iter([1]),
        type("Row", (tuple,), {})((1,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_no_form_for_names_its_type_and_place(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"args\[1\] is a {type(value).__qualname__}, which"):
        check_json([0, value], "args")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_json_has_no_form_for(value: float) -> None:
    with pytest.raises(ValueError, match=r"kwargs\['rate'\] is -?(nan|inf), which JSON"):
        check_json({"rate": value}, "kwargs")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30])
def test_integers_over_64_bits(value: int) -> None:
    with pytest.raises(ValueError, match=r"args\[0\] is an integer over 64 bits"):
        check_json([value], "args")
    big = type("Big", (int,), {})(value)
    with pytest.raises(ValueError, match="over 64 bits"):
        check_json([big], "args")


@pytest.mark.parametrize("key", [1, None, True, 1.5, (1,), b"k", Colour.RED])
def test_keys_that_are_no_strings(key: Any) -> None:
    with pytest.raises(TypeError, match=r"args\[0\] has the key .*; JSON keys are strings"):
        check_json([{key: 1}], "args")


def test_the_place_is_a_path_through_lists_and_objects() -> None:
    value = {"user": [{"tags": ("ok", {"deep": b""})}]}
    with pytest.raises(TypeError) as caught:
        check_json(value, "kwargs")
    assert str(caught.value).startswith("kwargs['user'][0]['tags'][1]['deep'] is a bytes")


@given(st.integers(min_value=0, max_value=MAX_DEPTH * 2))
def test_the_depth_is_bounded(depth: int) -> None:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    if depth <= MAX_DEPTH + 1:
        check_json(value, "args")
    else:
        with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH}"):
            check_json(value, "args")


def test_a_list_that_contains_itself() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="deeper than"):
        check_json(value, "args")
