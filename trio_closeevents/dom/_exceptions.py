"""The exceptions of the web platform, by their names there (Web IDL, `DOMException`)."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["AbortError", "DOMException", "InvalidAccessError", "InvalidStateError", "SyntaxError"]


class DOMException(Exception):  # the web's name
    """What the web platform raises.

    Attributes:
        name: what tells the errors apart: "SyntaxError", "InvalidAccessError", "InvalidStateError", …
        code: the number that was used for that before there were names; 0 for the newer ones.
        message: the text.
    """

    name: ClassVar[str] = "Error"
    code: ClassVar[int] = 0

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class SyntaxError(DOMException):
    """A URL, a subprotocol or a close reason is not as it has to be. Not Python's exception of that name."""

    name = "SyntaxError"
    code = 12


class InvalidAccessError(DOMException):
    """A close code is not one that a program may use."""

    name = "InvalidAccessError"
    code = 15


class InvalidStateError(DOMException):
    """What was asked for is not possible yet, or not any more."""

    name = "InvalidStateError"
    code = 11


class AbortError(DOMException):
    """An `AbortSignal` has put an end to it."""

    name = "AbortError"
    code = 20
