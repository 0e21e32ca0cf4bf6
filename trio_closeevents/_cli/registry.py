"""What there is to say about a close code: who may send it, what it means, and where that is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trio_closeevents import CloseCode, ReconnectPolicy, describe, is_sendable

__all__ = ["RANGES", "REGISTERED", "Entry", "explain"]

RFC: Final = "RFC 6455 §7.4.1"
REGISTRY: Final = "IANA registry"
RANGES_OF_RFC: Final = "RFC 6455 §7.4.2"
MOST: Final = 0xFFFF  # two bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One code, or what its range says of it.

    Attributes:
        code: 0-65535.
        senders: who may put it into a Close frame.
        source: where it is defined.
        meaning: a sentence.
    """

    code: int
    senders: str
    source: str
    meaning: str

    @property
    def name(self) -> str:
        return describe(self.code)

    @property
    def constant(self) -> str | None:
        return CloseCode(self.code).name if self.code in REGISTERED else None

    @property
    def travels(self) -> bool:
        """Whether a Close frame may have it, one that we send as well as one that we receive."""
        return is_sendable(self.code)

    @property
    def retried(self) -> str:
        """What `ReconnectPolicy` makes of it by default: a code that travelled is looked at, else the cause is."""
        if self.code in (CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE):
            return "by cause"
        return "yes" if self.code in ReconnectPolicy().codes else "no"


# (who may send it, where it is defined, what it means)
KNOWN: Final[Mapping[int, tuple[str, str, str]]] = {
    1000: ("both", RFC, "The purpose of the connection is fulfilled."),
    1001: ("both", RFC, "An endpoint is going away: a server shuts down, a page or a block was left."),
    1002: ("both", RFC, "The peer broke the protocol."),
    1003: ("both", RFC, "The peer sent a type of data that is not accepted, as binary where text is wanted."),
    1005: ("nobody", RFC, "The peer's Close frame was empty: it gave no code."),
    1006: ("nobody", RFC, "No Close frame of the peer was accepted: the connection was lost, or failed."),
    1007: ("both", RFC, "The peer sent a message that is not what its type says, as text that is not UTF-8."),
    1008: ("both", RFC, "The peer did what is not allowed here, and no other code fits."),
    1009: ("both", RFC, "The peer sent a message that is too big."),
    1010: ("client", RFC, "The client wanted an extension that the server did not agree to."),
    1011: ("both", RFC, "Something unexpected kept an endpoint from going on, as an exception in its program."),
    1012: ("server", REGISTRY, "The server restarts: come back, after a random wait."),
    1013: ("server", REGISTRY, "The server is overloaded: come back later, or elsewhere."),
    1014: ("server", REGISTRY, "The server is a gateway, and got no valid answer from the server behind it."),
    1015: ("nobody", RFC, "The TLS handshake failed, for example since the certificate cannot be verified."),
    3000: ("both", REGISTRY, "Credentials are missing or wrong, as with the HTTP status 401."),
    3003: ("both", REGISTRY, "The peer is known, and may not do this, as with the HTTP status 403."),
    3008: ("both", REGISTRY, "The peer took too long, as with the HTTP status 408."),
}

REGISTERED: Final[Mapping[int, Entry]] = {code: Entry(code, *rest) for code, rest in KNOWN.items()}

# (first, last, who may send it, what the codes that are not registered are for)
RANGES: Final = (
    (0, 999, "nobody", "Not used: no Close frame may have such a code."),
    (1000, 2999, "nobody", "Reserved for the WebSocket standard and its extensions: nobody has defined this code."),
    (3000, 3999, "both", "For libraries and frameworks, which register their codes: this one is not registered."),
    (4000, 4999, "both", "For applications: it means what the two programs have agreed on."),
    (5000, MOST, "nobody", "No close code: the last is 4999."),
)


def explain(code: int) -> Entry:
    """Return what there is to say about *code*: 0-65535."""
    if code in REGISTERED:
        return REGISTERED[code]
    senders, meaning = next((senders, meaning) for first, last, senders, meaning in RANGES if first <= code <= last)
    return Entry(code, senders, RANGES_OF_RFC, meaning)
