"""What a program may send: checked before anything is queued."""

from __future__ import annotations

from typing import Final, cast

__all__ = ["checked_control_payload", "checked_message"]

MAX_CONTROL_BYTES: Final = 125  # RFC 6455 §5.5


def checked_message(value: object) -> str | bytes:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"a text message must be valid Unicode, and {value[error.start]!r} at index {error.start} is a lone "
                f"surrogate: send bytes, or encode with errors='replace'"
            ) from None
        return value
    if (data := as_bytes(value)) is not None:
        return data
    raise TypeError(f"a message must be str, bytes, bytearray or memoryview, not {type(value).__name__}: {value!r:.80}")


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
