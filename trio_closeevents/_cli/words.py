"""How a connection ended, or why there was none, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trio_closeevents import CloseCause, CloseEvent, CloseFrame, HandshakeError, describe

from .clean import shorten, visible
from .registry import explain

__all__ = ["tell", "tell_error"]

# In a sentence that begins with what we did.
BECAUSE: Final[Mapping[CloseCause | None, str]] = {
    CloseCause.PROTOCOL_ERROR: "the peer broke the protocol",
    CloseCause.INVALID_PAYLOAD: "the peer sent text that is not UTF-8, or data that cannot be inflated",
    CloseCause.MESSAGE_TOO_BIG: "the peer sent a message that is too big",
    CloseCause.KEEPALIVE_TIMEOUT: "nothing came from the peer any more, no Pong either",
    CloseCause.INTERNAL_ERROR: "of a bug in this program",
}
LOST: Final[Mapping[CloseCause | None, str]] = {
    CloseCause.EOF: "The peer hung up without a Close frame.",
    CloseCause.RESET: "The connection was cut: neither side sent a Close frame.",
    CloseCause.ABORTED: "We dropped the connection without a Close frame.",
}

# Of the body of an answer that was no upgrade.
MOST_LINES: Final = 10
MOST_CHARACTERS: Final = 200  # in a line
UNVERIFIED: Final = "CERTIFICATE_VERIFY_FAILED"


def tell(event: CloseEvent) -> str:
    """Return what happened, who began it, and what the close code means."""
    return f"{happened(event)} {code_in_words(event)}"


def happened(event: CloseEvent) -> str:
    if event.cause in LOST:
        return LOST[event.cause]
    if event.cause is CloseCause.REMOTE:
        end = "" if event.was_clean else ", and was gone before our answer"
        return f"The peer closed the connection with {frame(event.received)}{end}."
    if event.sent is None:
        return "We were about to close the connection, and could not send the Close frame any more."
    if event.cause in BECAUSE:
        return f"We closed the connection with {frame(event.sent)}, because {BECAUSE[event.cause]}."
    if event.received is None:
        return f"We closed the connection with {frame(event.sent)}, and the peer did not answer that."
    answer = "the same" if event.received == event.sent else frame(event.received)
    return f"We closed the connection with {frame(event.sent)}, and the peer answered with {answer}."


def frame(close: CloseFrame | None) -> str:
    """Return a Close frame in words; `None` does not happen where this is called with it."""
    if close is None or close.code is None:
        return "an empty Close frame"
    words = f"{close.code} ({describe(close.code)})"
    return f"{words}, “{visible(close.reason)}”" if close.reason else words


def code_in_words(event: CloseEvent) -> str:
    return f"Close code {event.code}, {describe(event.code)}: {explain(event.code).meaning}"


def tell_error(error: HandshakeError) -> list[str]:
    """Return the lines that tell why there is no connection: the error, and how the body of the answer begins."""
    text = str(error)
    if isinstance(error.__cause__, OSError) and (why := error.__cause__.strerror) and why not in text:
        text += f": {why}"
    lines = [sentence(visible(text))]
    if UNVERIFIED in str(error):
        lines.append("With --insecure every certificate is taken, and nobody knows who answers.")
    if error.response is not None:
        body = error.response.body.decode(errors="replace").strip().splitlines()
        lines += [f"  {shorten(visible(line), MOST_CHARACTERS)}".rstrip() for line in body[:MOST_LINES]]
        if len(body) > MOST_LINES:
            lines.append(f"  ... and {len(body) - MOST_LINES} lines more")
    return lines


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
