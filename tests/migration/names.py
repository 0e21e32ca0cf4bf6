"""Names and options, as the tables of the migration guides tell them, and whether they are so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

import trio_closeevents
import trio_closeevents.routing

__all__ = ["Roots", "Signature", "check_call", "check_option", "find", "parameters"]

MISSING: Final = object()

Signature = Mapping[str, inspect.Parameter]


class Roots:
    """Packages, by the names that they have in the tables."""

    trio = trio
    trio_closeevents = trio_closeevents
    routing = trio_closeevents.routing


def parameters(*functions: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return what *functions* take together, by name; of two by one name, the first function's."""
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        found = {**inspect.signature(function).parameters, **found}
    return found


def check_option(told: str, signature: Signature) -> None:
    """Check that there is an option as it is *told*: `name`, or `name=default`."""
    name, equals, default = told.partition("=")
    assert name in signature, f"there is no {name}"
    if equals:
        assert signature[name].default == eval(default), f"{name} has another default"


def find(name: str, *places: Any) -> Any:
    """Return what *name* is in the first of *places* that has it; the name may be one of several levels."""
    head, _, rest = name.partition(".")
    for place in places:
        if (found := getattr(place, head, MISSING)) is not MISSING:
            return find(rest, found) if rest else found
        if isinstance(place, type) and head in inspect.signature(place).parameters:
            return place  # an attribute of its instances, which hold what they were given
    raise AssertionError(f"{name} is nowhere")


def check_call(told: str, *places: Any) -> None:
    """Check `name`, or `name(first, second, third=value)`: that it takes these, in this order."""
    name, opened, arguments = told.partition("(")
    found = find(name, *places)
    if not opened:
        return
    known = [each for each in parameters(found) if each != "self"]
    given = [each.strip().partition("=") for each in arguments.rstrip(")").split(",") if each.strip()]
    for position, (argument, equals, _) in enumerate(given):
        assert (argument in known) if equals else (known[position] == argument), f"{told}: {argument}"
