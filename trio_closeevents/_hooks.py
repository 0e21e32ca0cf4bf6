"""Calling what a program gave us to be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

__all__ = ["unprotected"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@trio.lowlevel.disable_ki_protection
def unprotected(hook: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
    """Call a hook of the program, which Ctrl-C may interrupt anywhere."""
    return hook(*arguments, **named)
