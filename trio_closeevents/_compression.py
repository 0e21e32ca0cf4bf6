"""`Deflate`: how a program wants its messages compressed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Deflate", "checked_compression"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """permessage-deflate (RFC 7692), as one side wants it. What both sides agree on may be less.

    A connection with the defaults costs about 300 KiB of memory more than one without: a window and a hash table for
    what it sends, a window for what it receives. Fewer window bits, a lower memory level and no context takeover make
    that less, and the messages larger.

    Attributes:
        server_max_window_bits: 9-15; the server's messages refer to what is at most 2 to that power bytes back.
        client_max_window_bits: 9-15; the same for the client's messages.
        server_no_context_takeover: the server's messages do not refer to earlier ones.
        client_no_context_takeover: the client's messages do not refer to earlier ones.
        level: 0-9, zlib's: 1 is fastest, 9 is smallest.
        memory_level: 1-9, zlib's: what the compression of messages may use.
        threshold: messages of fewer bytes are sent as they are. Fragmented messages are always compressed, since
            nobody knows how long they will be.
    """

    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    level: int = 6
    memory_level: int = 8
    threshold: int = 64

    def __post_init__(self) -> None:
        for name, least, most in (
            ("server_max_window_bits", 9, 15),  # RFC 7692 has 8 too, zlib does not
            ("client_max_window_bits", 9, 15),
            ("level", 0, 9),
            ("memory_level", 1, 9),
            ("threshold", 0, None),
        ):
            check_number(name, getattr(self, name), least, most)
        for name in ("server_no_context_takeover", "client_no_context_takeover"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, not {getattr(self, name)!r}")


def check_number(name: str, value: object, least: int, most: int | None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"{least}-{most}"
        raise ValueError(f"{name} must be {bounds}, not {value}")


def checked_compression(value: object) -> Deflate | None:
    """Return what the option `compression` means."""
    if value is None or isinstance(value, Deflate):
        return value
    if value == "deflate":
        return Deflate()
    if isinstance(value, str):
        raise ValueError(f'compression must be "deflate", a Deflate or None, not {value!r}')
    raise TypeError(f'compression must be "deflate", a Deflate or None, not {type(value).__name__}: {value!r}')
