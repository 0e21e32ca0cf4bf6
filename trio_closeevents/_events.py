"""The values that tell how a connection ended. No I/O, no state.

A Close frame travels as a `CloseFrame`; what the whole connection came to is one `CloseEvent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, Literal, Self, get_args

__all__ = [
    "MAX_REASON_BYTES",
    "CloseCause",
    "CloseCode",
    "CloseEvent",
    "CloseFrame",
    "InitiatedBy",
    "describe",
    "is_sendable",
]

# A control frame holds at most 125 bytes (RFC 6455 §5.5); two of them are the close code.
MAX_REASON_BYTES: Final = 125 - 2

MAX_CODE: Final = 0xFFFF  # a close code is two bytes on the wire (§5.5.1)

InitiatedBy = Literal["local", "remote", "transport"]


class CloseCode(IntEnum):
    """The registered close codes (IANA, WebSocket Close Code Number Registry; RFC 6455 §7.4.1).

    `describe` says in words what one means, `is_sendable` whether it may travel.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXT = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    UNAUTHORIZED = 3000
    FORBIDDEN = 3003
    TIMEOUT = 3008


# They stand for the absence of a Close frame, of its code, or of TLS: never on the wire (§7.4.1).
LOCAL_ONLY_CODES: Final = frozenset({CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE})

MEANINGS: Final[Mapping[CloseCode, str]] = {
    CloseCode.NORMAL_CLOSURE: "normal closure",
    CloseCode.GOING_AWAY: "going away",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "unsupported data",
    CloseCode.NO_STATUS_RCVD: "no status received",
    CloseCode.ABNORMAL_CLOSURE: "abnormal closure",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "invalid frame payload data",
    CloseCode.POLICY_VIOLATION: "policy violation",
    CloseCode.MESSAGE_TOO_BIG: "message too big",
    CloseCode.MANDATORY_EXT: "mandatory extension",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.SERVICE_RESTART: "service restart",
    CloseCode.TRY_AGAIN_LATER: "try again later",
    CloseCode.BAD_GATEWAY: "bad gateway",
    CloseCode.TLS_HANDSHAKE: "TLS handshake",
    CloseCode.UNAUTHORIZED: "unauthorized",
    CloseCode.FORBIDDEN: "forbidden",
    CloseCode.TIMEOUT: "timeout",
}

# (last code of the range, what the range is for); RFC 6455 §7.4.2.
RANGES: Final = (
    (999, "not used"),
    (1999, "reserved for the WebSocket standard"),
    (2999, "reserved for extensions"),
    (3999, "libraries and frameworks, registered"),
    (4999, "applications, private use"),
    (MAX_CODE, "no close code"),
)


def describe(code: int) -> str:
    """Tell what *code* means: its registered meaning, or that of the range it falls into.

    Args:
        code: 0-65535.

    Raises:
        TypeError: *code* is not an integer.
        ValueError: *code* does not fit into the two bytes of a close code (RFC 6455 §5.5.1).
    """
    number = check_code(code)
    if number in MEANINGS:
        return MEANINGS[CloseCode(number)]
    if number == 1004:
        return "reserved"
    return next(meaning for last, meaning in RANGES if number <= last)


def is_sendable(code: int) -> bool:
    """Tell whether *code* may travel in a Close frame: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4)."""
    if 1000 <= code <= 2999:
        return code in MEANINGS and code not in LOCAL_ONLY_CODES
    return 3000 <= code <= 4999


def check_code(code: object) -> int:
    """Return *code* as a plain `int` in 0-65535, or raise what the callers document."""
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"close code must be an int, not {type(code).__name__}: {code!r}")
    if not 0 <= code <= MAX_CODE:
        raise ValueError(f"close code {code} does not fit into two bytes, the range is 0-{MAX_CODE}")
    return int(code)


def check_reason(reason: object) -> None:
    if not isinstance(reason, str):
        raise TypeError(f"close reason must be a str, not {type(reason).__name__}: {reason!r}")


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """What one Close frame said (RFC 6455 §5.5.1).

    Attributes:
        code: the close code, 0-65535, or `None` if the frame was empty.
        reason: the text behind the code, at most `MAX_REASON_BYTES` as UTF-8.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: *code* is out of its range, or *reason* has none to stand behind.
    """

    code: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        check_reason(self.reason)
        if self.code is not None:
            object.__setattr__(self, "code", check_code(self.code))
        elif self.reason:
            raise ValueError(
                f"close reason {self.reason!r} needs a close code: an empty Close frame has no room for it"
            )

    def __str__(self) -> str:
        code = "an empty Close" if self.code is None else str(self.code)
        return f"{code} {self.reason!r}" if self.reason else code


def sendable_frame(code: int | None, reason: str = "") -> CloseFrame:
    """Check a close code and reason that somebody wants to send.

    Raises:
        TypeError: *code* is neither an integer nor `None`, or *reason* is not a `str`.
        ValueError: they may not travel in a Close frame; the text names the value and the rule.
    """
    check_reason(reason)
    if code is None:
        return CloseFrame(None, reason)
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"close code must be an int or None, not {type(code).__name__}: {code!r}")
    if not is_sendable(code):
        why = f" ({describe(code)})" if 0 <= code <= MAX_CODE else ""
        raise ValueError(
            f"close code {code}{why} may not be sent: use 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4), "
            f"or None for an empty Close frame"
        )
    try:
        size = len(reason.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"close reason {reason!r} is not valid Unicode: {error.reason}") from None
    if size > MAX_REASON_BYTES:
        raise ValueError(f"close reason is {size} bytes as UTF-8, the limit is {MAX_REASON_BYTES}: {reason!r}")
    return CloseFrame(code, reason)


class CloseCause(StrEnum):
    """What came first and so ended the connection; fixed once, never changed.

    * This side wished it: `EXIT` (the block returned), `ERROR` (an exception left it), `CANCELLED` (it was cancelled or
      interrupted), `CLOSED` (`aclose` was called, or the server's), `ABORTED` (`abort` was called).
    * The peer wished it: `REMOTE` (its Close frame came first).
    * This side failed the connection (RFC 6455 §7.1.7): `PROTOCOL_ERROR`, `INVALID_PAYLOAD`, `MESSAGE_TOO_BIG`,
      `KEEPALIVE_TIMEOUT`, `INTERNAL_ERROR`.
    * The transport was lost: `EOF`, `RESET`.
    * The connection never opened: `REFUSED`, `REJECTED`, `MALFORMED`, `TIMEOUT`, `TLS`.
    """

    # this side's own wish
    EXIT = "exit"  # the block returned
    ERROR = "error"  # an exception left the block
    CANCELLED = "cancelled"  # the block was cancelled or interrupted
    CLOSED = "closed"  # aclose(), or the server's aclose()
    ABORTED = "aborted"  # abort()
    # the peer's
    REMOTE = "remote"  # its Close frame came first
    # this side failed the connection (RFC 6455 §7.1.7)
    PROTOCOL_ERROR = "protocol_error"
    INVALID_PAYLOAD = "invalid_payload"
    MESSAGE_TOO_BIG = "message_too_big"
    KEEPALIVE_TIMEOUT = "keepalive_timeout"
    INTERNAL_ERROR = "internal_error"
    # the transport was lost
    EOF = "eof"
    RESET = "reset"
    # the connection never opened
    REFUSED = "refused"
    REJECTED = "rejected"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    TLS = "tls"

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """How a connection ended: one frozen value, equal to every other of the same fields.

    The connection's own event has all fields. One made by hand has the browser's defaults and `None` in the
    last four. `case CloseEvent(1001):` matches by code, then reason, then cleanliness.

    Attributes:
        type: always `"close"` (WHATWG WebSockets, `CloseEvent`).
        code: the code of the peer's Close frame; 1005 if that frame was empty, 1006 if none was accepted, 1015 if
            the TLS handshake failed (RFC 6455 §7.1.5). 0-65535.
        reason: the text of that frame; `""` if none (§7.1.6).
        was_clean: both Close frames travelled: ours was handed to the kernel whole, the peer's was received and
            valid, and this side did not fail the connection (§7.1.4).
        initiated_by: whose Close frame was the first: `"local"` or `"remote"`; `"transport"` if there was none.
        cause: what ended the connection.
        sent: the Close frame that this side handed to the kernel, or `None`.
        received: the Close frame that was accepted from the peer, or `None`.
    """

    __match_args__ = ("code", "reason", "was_clean")

    type: str
    _: KW_ONLY
    code: int = 0
    reason: str = ""
    was_clean: bool = False
    initiated_by: InitiatedBy | None = None
    cause: CloseCause | None = None
    sent: CloseFrame | None = None
    received: CloseFrame | None = None

    def __post_init__(self) -> None:
        if self.type != "close":
            raise ValueError(f"the type of a CloseEvent is 'close', not {self.type!r}")
        object.__setattr__(self, "code", check_code(self.code))
        check_reason(self.reason)
        if not isinstance(self.was_clean, bool):
            raise TypeError(f"was_clean must be a bool, not {type(self.was_clean).__name__}: {self.was_clean!r}")
        if self.initiated_by is not None and self.initiated_by not in get_args(InitiatedBy):
            raise ValueError(f"initiated_by must be one of {get_args(InitiatedBy)} or None, not {self.initiated_by!r}")
        if self.cause is not None:
            object.__setattr__(self, "cause", CloseCause(self.cause))
        for name in ("sent", "received"):
            frame = getattr(self, name)
            if frame is not None and not isinstance(frame, CloseFrame):
                raise TypeError(f"{name} must be a CloseFrame or None, not {type(frame).__name__}: {frame!r}")

    @property
    def wasClean(self) -> bool:  # noqa: N802  # the browser's spelling
        """`was_clean`, as the browser spells it."""
        return self.was_clean

    def __str__(self) -> str:
        text = f"{self.code} {describe(self.code)}"
        if self.reason:
            text += f" {self.reason!r}"
        if self.sent is not None and self.initiated_by == "local":
            text += f", after we sent {self.sent}"
        elif self.initiated_by == "remote":
            text += ", the peer closed first"
        if self.received is not None and not self.was_clean:
            text += ", not clean"
        return f"{text}: {self.cause}" if self.cause is not None else text

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them; `from_dict` is the way back."""
        return asdict(self) | {"cause": None if self.cause is None else str(self.cause)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Make the event that `to_dict` described.

        Raises:
            TypeError: *fields* has an unknown or ill-typed entry, or lacks `"type"`.
            ValueError: an entry is out of its range.
        """
        values = dict(fields)
        for name in ("sent", "received"):
            if isinstance(values.get(name), Mapping):
                values[name] = CloseFrame(**values[name])
        return cls(**values)
