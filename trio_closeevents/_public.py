"""How public names show themselves: to `help` and to editors that ask the running program, and in tracebacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, TypeVar

__all__ = ["publish", "spelled_out"]

Function = TypeVar("Function", bound=Callable[..., Any])


def spelled_out(parameters: Iterable[inspect.Parameter]) -> Callable[[Function], Function]:
    """Show *parameters* in place of what a function takes as `**options`."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__dict__["__signature__"] = signature.replace(parameters=[*own, *parameters])
        return function

    return decorate


def publish(module: str, names: Iterable[str], namespace: Mapping[str, object]) -> None:
    """Let the functions and exceptions among *names* say that they are of *module*, from which programs import them.

    Other classes go on to say where they are written, since their annotations are looked up there.
    """
    for name in names:
        value = namespace[name]
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        if (is_error or isinstance(value, FunctionType)) and "._" in value.__module__:
            value.__module__ = module
