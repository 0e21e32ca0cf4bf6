"""Calling what a program gave us to be called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar

import trio

__all__ = ["checked_awaitable", "unprotected"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@trio.lowlevel.disable_ki_protection
def unprotected(hook: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
    """Call a hook of the program, which Ctrl-C may interrupt anywhere."""
    return hook(*arguments, **named)


@trio.lowlevel.enable_ki_protection  # Ctrl-C in here would leave a coroutine behind that was never awaited
def checked_awaitable(returned: object, function: Callable[..., object]) -> Awaitable[Any]:
    """Return what *function* of the program has returned, if it was the async function that it had to be."""
    if not isawaitable(returned):
        raise TypeError(f"{function!r} returned {returned!r}: it must be an async function")
    return returned
