"""What a program may send: checked before anything is queued."""

from __future__ import annotations

from typing import Final, TypeAlias, cast

__all__ = ["BytesLike", "as_bytes", "check_choice", "checked_control_payload", "checked_message", "decoded", "not_utf8"]

BytesLike: TypeAlias = bytes | bytearray | memoryview

MAX_CONTROL_BYTES: Final = 125  # RFC 6455 §5.5


def checked_message(value: object, text: bool | None = None, *, or_parts: bool = True) -> str | bytes:
    """Return a whole message of the kind that *text* asks for: `True` is text, `False` binary, `None` as *value* is.

    *or_parts* says whether the caller would take the parts of one too, as the error for anything else has it.

    Raises:
        TypeError: neither `str` nor bytes-like.
        ValueError: text that cannot travel.
    """
    if (data := as_bytes(value)) is not None:
        return decoded(data) if text else data
    if not isinstance(value, str):
        kinds = "str, bytes, bytearray or memoryview" + (", or an iterable of such" if or_parts else "")
        raise TypeError(f"a message must be {kinds}, not {type(value).__name__}: {value!r:.80}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a text message must be valid Unicode, and {value[error.start]!r} at index {error.start} is a lone "
            f"surrogate: send bytes, or encode with errors='replace'"
        ) from None
    return encoded if text is False else value


def check_choice(name: str, value: object) -> None:
    """Check an argument that was given, although it is optional."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True, False or None, not {type(value).__name__}: {value!r:.80}")


def decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None


def not_utf8(error: UnicodeDecodeError) -> ValueError:
    return ValueError(f"a text message must be valid UTF-8, and byte {error.start} is not ({error.reason})")


def as_bytes(value: object) -> bytes | None:
    """Return what is bytes-like as `bytes`, a copy if it can be changed; `None` for anything else."""
    if isinstance(value, bytes):
        return value
    return bytes(cast("bytearray", value)) if isinstance(value, bytearray | memoryview) else None


def checked_control_payload(payload: object) -> bytes:
    data = as_bytes(payload)
    if data is None:
        raise TypeError(f"the payload of a Ping or Pong must be bytes-like, not {type(payload).__name__}: {payload!r}")
    if len(data) > MAX_CONTROL_BYTES:
        raise ValueError(f"the payload of a Ping or Pong is {len(data)} bytes, the limit is {MAX_CONTROL_BYTES}")
    return data
