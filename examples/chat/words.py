"""A `CloseEvent` in plain words, for people who have never heard of close codes."""

from __future__ import annotations

from trio_closeevents import CloseCause, CloseEvent

__all__ = ["in_words"]


def in_words(event: CloseEvent) -> str:
    """Say how somebody's connection ended, so that a name can stand in front of it."""
    match event.cause:
        case CloseCause.REMOTE:
            return said_by_the_browser(event.code)
        case CloseCause.EOF | CloseCause.RESET:
            return "lost the connection, without a goodbye"
        case CloseCause.KEEPALIVE_TIMEOUT:
            return "has fallen silent: the network is gone, or the machine sleeps"
        case CloseCause.PROTOCOL_ERROR | CloseCause.INVALID_PAYLOAD | CloseCause.MESSAGE_TOO_BIG:
            return "sent what nobody may send, and was disconnected"
        case CloseCause.CLOSED if event.sent is not None and event.sent.reason:
            return f"was disconnected: {event.sent.reason}"
        case _:
            return "was disconnected by the server"


def said_by_the_browser(code: int) -> str:
    match code:
        case 1000 | 1005:
            return "said goodbye"
        case 1001:
            return "closed the tab, or left the page"
        case _:
            return "left"
