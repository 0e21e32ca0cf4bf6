"""What a line of input asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from .json_text import compact

__all__ = ["HELP", "Act", "Bad", "Close", "Help", "Nothing", "Ping", "Send", "filtered", "typed"]

HELP: Final = """\
TEXT                   send TEXT as a text message
//TEXT                 send /TEXT
/binary HEX            send a binary message: hexadecimal digits, with spaces or without
/ping                  measure a round trip
/close [CODE [REASON]] close, with 1000 if not told otherwise
/help                  this list
Ctrl-D                 close with 1000
Ctrl-C                 close with 1001, within a second"""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message."""

    message: str | bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """Measure a round trip."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close. The connection says what it thinks of the code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Help:
    """Tell what can be typed."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Do nothing: an empty line was typed."""


@dataclass(frozen=True, slots=True)
class Bad:
    """Do nothing, and say why."""

    why: str


Act: TypeAlias = Send | Ping | Close | Help | Nothing | Bad


def typed(line: str, *, as_json: bool) -> Act:
    """Return what a person wants who has typed *line*."""
    if not line:
        return Nothing()
    if not line.startswith("/"):
        return checked(line, as_json=as_json)
    if line.startswith("//"):
        return checked(line[1:], as_json=as_json)
    command, _, rest = line.partition(" ")
    if command == "/binary":
        return from_hex(rest)
    if command == "/close":
        code, _, reason = rest.strip().partition(" ")
        if code and not (code.isascii() and code.isdigit()):
            return Bad(f"/close {code}: a close code is a number")
        return Close(int(code[:9] or 1000), reason)
    plain: dict[str, Act] = {"/ping": Ping(), "/help": Help()}
    return plain.get(command, Bad(f"{command} is no command: /help lists them, and //{command[1:]} sends it as text"))


def filtered(line: bytes, *, as_json: bool, as_hex: bool) -> Act:
    """Return what *line* of a pipe or file asks for: always a message."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return Bad(f"a text message must be UTF-8: {error}; --hex sends bytes")
    return from_hex(text) if as_hex else checked(text, as_json=as_json)


def checked(text: str, *, as_json: bool) -> Act:
    try:
        return Send(compact(text) if as_json else text)
    except ValueError as error:
        return Bad(f"this is not JSON: {error}")


def from_hex(digits: str) -> Act:
    try:
        return Send(bytes.fromhex(digits))
    except ValueError as error:
        return Bad(f"these are not pairs of hexadecimal digits: {error}")
