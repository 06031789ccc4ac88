"""Plain values to typed dataclasses."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.typed import annotation_of, build, known_keys, nearest_key


@dataclass(frozen=True)
class Wheel:
    radius: float = 1.0
    spokes: int = 8

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError("the radius must be above 0")


@dataclass(frozen=True)
class Car:
    name: str = ""
    kind: Literal["van", "bus"] = "van"
    size: tuple[float, float] = (1.0, 2.0)
    gears: tuple[int, ...] = (1, 2)
    price: int | None = None
    is_new: bool = True
    extras: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    wheel: Wheel = field(default_factory=Wheel)


def test_values_are_converted() -> None:
    car = build(Car, {"size": [3, 4.5], "gears": [1, 2, 3], "wheel": {"radius": 2}, "extras": {"roof": 1}}, "f")
    assert car == Car(size=(3.0, 4.5), gears=(1, 2, 3), wheel=Wheel(2.0), extras={"roof": 1.0})
    assert isinstance(car.size[0], float) and isinstance(car.wheel.radius, float)


def test_a_whole_float_is_a_whole_number() -> None:
    spokes = build(Wheel, {"spokes": 1e2}, "f").spokes
    assert spokes == 100 and isinstance(spokes, int)


@pytest.mark.parametrize("value", [None, 5])
def test_a_union_takes_each_of_its_types(value: int | None) -> None:
    assert build(Car, {"price": value}, "f").price == value


@pytest.mark.parametrize(
    ("values", "key", "wanted", "given"),
    [
        ({"wheel": {"radius": "big"}}, "wheel.radius", "a number", "'big' (str)"),
        ({"wheel": {"spokes": 1.5}}, "wheel.spokes", "a whole number", "1.5 (float)"),
        ({"wheel": {"spokes": True}}, "wheel.spokes", "a whole number", "True (bool)"),
        ({"wheel": {"spokes": float("inf")}}, "wheel.spokes", "a whole number", "inf (float)"),
        ({"wheel": 3}, "wheel", "a section of keys", "3 (int)"),
        ({"wheel": None}, "wheel", "a section of keys", "None (NoneType)"),
        ({"is_new": 1}, "is_new", "true or false", "1 (int)"),
        ({"name": 7}, "name", "text", "7 (int)"),
        ({"kind": "tram"}, "kind", "one of van, bus", "'tram' (str)"),
        ({"size": [1]}, "size", "a list of 2", "[1] (list)"),
        ({"gears": 3}, "gears", "a list", "3 (int)"),
        ({"gears": [1, "x"]}, "gears", "a list", "[1, 'x'] (list)"),
        ({"price": "much"}, "price", "a whole number or null", "'much' (str)"),
        ({"extras": {"roof": "x"}}, "extras", "dict", "{'roof': 'x'} (dict)"),
    ],
)
def test_a_wrong_type_names_key_wish_and_gift(values: dict, key: str, wanted: str, given: str) -> None:
    with pytest.raises(UserError) as caught:
        build(Car, values, "car.yaml")
    line = str(caught.value)
    assert line.startswith(f"car.yaml: {key} wants {wanted}") and f"was given {given}" in line and "\n" not in line


def test_a_value_that_the_dataclass_refuses_is_named_with_its_section() -> None:
    with pytest.raises(UserError, match=r"car.yaml: wheel: the radius must be above 0"):
        build(Car, {"wheel": {"radius": -1}}, "car.yaml")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("wheel.radios", "wheel.radius"),
        ("radius", "wheel.radius"),
        ("weel.radius", "wheel.radius"),
        ("wheel.name", "name"),
        ("pryce", "price"),
        ("qqqq", None),
    ],
)
def test_nearest_key(key: str, near: str | None) -> None:
    assert nearest_key(Car, key) == near


def test_an_unknown_key_is_named_in_full_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"f: wheel\.radios is not a known key\. Did you mean wheel\.radius\?"):
        build(Car, {"wheel": {"radios": 1}}, "f")
    with pytest.raises(UserError, match=r"f: qqqq is not a known key\. Known here: name, kind"):
        build(Car, {"qqqq": 1}, "f")


def test_keys_and_annotations() -> None:
    assert {"wheel", "wheel.radius", "name"} <= set(known_keys(Car))
    assert annotation_of(Car, "wheel.spokes") is int
    assert annotation_of(Car, "wheel.spokes.x") is None and annotation_of(Car, "nothing") is None
