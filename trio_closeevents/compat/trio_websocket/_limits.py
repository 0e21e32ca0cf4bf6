"""The arguments that every way to a connection takes, checked in one place, and the options that they become."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from trio_closeevents._protocol.assembly import Length

__all__ = [
    "CONN_TIMEOUT",
    "MAX_MESSAGE_SIZE",
    "MESSAGE_QUEUE_SIZE",
    "RECEIVE_BYTES",
    "HeaderPairs",
    "core_options",
    "fields_of",
    "own_fields",
    "patience",
    "wire",
]

CONN_TIMEOUT: Final = 60.0  # seconds
MESSAGE_QUEUE_SIZE: Final = 1
MAX_MESSAGE_SIZE: Final = 2**20
RECEIVE_BYTES: Final = 4 * 2**10
A_YEAR: Final = 366 * 86400.0  # seconds: the core wants a limit that is finite

HeaderPairs: TypeAlias = "list[tuple[bytes, bytes]]"

# What the opening handshake writes itself; what a program gives of these is left out.
OF_THE_HANDSHAKE: Final = ("connection", "content-length", "transfer-encoding", "upgrade")


def core_options(message_queue_size: float, max_message_size: float, receive_buffer_size: int | None) -> dict[str, Any]:
    """Return the options that do as these arguments say.

    Raises:
        TypeError, ValueError: one of them is wrong.
    """
    check_size("message_queue_size", message_queue_size, 0)
    if not isinstance(max_message_size, int | float) or isinstance(max_message_size, bool):
        raise TypeError(f"max_message_size must be a number, not {max_message_size!r}")
    if not max_message_size >= 0:  # NaN is not either
        raise ValueError(f"max_message_size must be at least 0, not {max_message_size}")
    if receive_buffer_size is not None:
        check_size("receive_buffer_size", receive_buffer_size, 1)
    return {
        # trio-websocket has one more in its hands when it waits for room in the queue.
        "max_queue": None if message_queue_size == math.inf else int(message_queue_size) + 1,
        "max_queue_bytes": None,
        "max_message_size": None if max_message_size == math.inf else Length(max_message_size),
        "open_timeout": math.inf,
        "close_timeout": CONN_TIMEOUT,
        "ping_interval": None,
    }


def check_size(name: str, value: object, least: int) -> None:
    if value == math.inf:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or math.inf, not {type(value).__name__}: {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def patience(name: str, seconds: object) -> float:
    """Check a timeout; return it as a number that is finite."""
    if not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}: {seconds!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{name} must not be negative, not {seconds}")
    return min(float(seconds), A_YEAR)


def fields_of(headers: Iterable[tuple[bytes, bytes]] | None) -> list[tuple[str, str]]:
    """Return header fields as the core has them."""
    return [(text_of(name), text_of(value)) for name, value in headers or ()]


def own_fields(headers: Iterable[tuple[bytes, bytes]] | None) -> list[tuple[str, str]]:
    """Return header fields without those that the opening handshake writes itself."""
    return [(name, value) for name, value in fields_of(headers) if not is_of_the_handshake(name.lower())]


def is_of_the_handshake(name: str) -> bool:
    return name in OF_THE_HANDSHAKE or name.startswith("sec-websocket-")


def text_of(part: bytes | str) -> str:
    return part if isinstance(part, str) else bytes(part).decode("latin-1")


def wire(text: str) -> bytes:
    """Return *text* of a header as it travels."""
    return text.encode("latin-1")
