"""The options that `connect`, `serve`, `open_server` and `accept` have in common: one place for names and defaults."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeVar, cast

from wsproto.extensions import Extension

from ._compression import Deflate, checked_compression
from ._observer import Observer
from ._policy import ClosePolicy
from ._public import spelled_out

__all__ = ["ExtensionFactory", "Options", "OptionsDict", "check_names", "spell_out", "takes_options"]

# What other libraries call what we call so; the first that a function has is what it tells.
MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    "additional_headers": ("headers",),
    "autoping": ("answer_pings",),
    "backlog": ("listen=[Listen(..., backlog=...)]",),
    "connect_timeout": ("open_timeout",),
    "disconnect_timeout": ("close_timeout",),
    "extra_headers": ("headers",),
    "heartbeat": ("ping_interval",),
    "host": ("address=(host, port)",),
    "max_msg_size": ("max_message_size",),
    "max_size": ("max_message_size",),
    "message_queue_size": ("max_queue",),
    "path": ("address=path", "listen=[Listen(path)]"),
    "port": ("address=(host, port)",),
    "protocols": ("subprotocols",),
    "reuse_port": ("listen=[Listen(..., reuse_port=True)]",),
    "sock": ("stream=trio.SocketStream(...)", "listen=[Listen(sock)]"),
    "ssl": ("ssl_context",),
    "timeout": ("open_timeout",),
    "user_agent_header": ("user_agent",),
}

ExtensionFactory: TypeAlias = Callable[[], Extension]


class OptionsDict(TypedDict, total=False):
    """`Options`, as keyword arguments."""

    max_message_size: int | None
    max_fragments: int | None
    max_queue: int | None
    max_queue_bytes: int | None
    open_timeout: float
    close_timeout: float
    cancel_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    compression: Deflate | Literal["deflate"] | None
    extensions: Iterable[ExtensionFactory]
    answer_pings: bool
    policy: ClosePolicy
    cancel_on_close: bool
    observer: Observer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Limits and behaviour of one connection. Of the limits, `None` means: no limit.

    Attributes:
        max_message_size: the most bytes of a received message, decoded; a larger one fails the connection with 1009.
        max_fragments: the most fragments of a received message, empty ones too; more fail the connection with 1009.
        max_queue: how many received messages wait for `receive` before the peer feels backpressure.
        max_queue_bytes: the same in bytes.
        open_timeout: seconds for the whole opening handshake: DNS, TCP, TLS and upgrade together.
        close_timeout: seconds from the start of an ordinary closing handshake until the transport is gone.
        cancel_timeout: the same for a block that was cancelled or interrupted, and for a connection that was failed.
            With 0 the Close frame is sent only if the socket takes it at once (a stream that can only be awaited
            has 10 ms to do so).
        ping_interval: seconds between the Pings that are sent while the connection is open; `None`: none are.
        ping_timeout: seconds after a Ping without anything at all from the peer, a Pong or whatever else, until the
            connection fails with 1011 "keepalive timeout". They do not count while a full queue keeps us from reading.
        compression: permessage-deflate (RFC 7692): `"deflate"`, a `Deflate` of your own, or `None`. It costs memory
            and time, and takes place only if the peer wants it too.
        extensions: further extensions of the protocol (RFC 6455 §9), in the order in which they are offered or
            preferred: classes or functions that return a new `wsproto.extensions.Extension` for each connection. With
            one that was agreed on, every frame goes through wsproto, which is slower; *max_message_size* counts what
            comes out of it.
        answer_pings: send a Pong for every Ping (§5.5.2); without it, that is up to the program: see
            `Observer.ping` and `WebSocket.pong`.
        policy: which exception leaves the block with which Close frame.
        cancel_on_close: cancel the block when the connection ends under it.
        observer: what watches the connection.
    """

    max_message_size: int | None = 2**20
    max_fragments: int | None = 2**17
    max_queue: int | None = 64
    max_queue_bytes: int | None = 2**20
    open_timeout: float = 10
    close_timeout: float = 10
    cancel_timeout: float = 1
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    compression: Deflate | Literal["deflate"] | None = None
    extensions: Iterable[ExtensionFactory] = ()
    answer_pings: bool = True
    policy: ClosePolicy = ClosePolicy()  # noqa: RUF009  # a frozen value
    cancel_on_close: bool = False
    observer: Observer | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_message_size", 0), ("max_fragments", 1), ("max_queue", 1), ("max_queue_bytes", 1)):
            check_limit(name, getattr(self, name), least)
        for name in ("close_timeout", "cancel_timeout"):
            check_seconds(name, getattr(self, name), finite=True)
        check_seconds("open_timeout", self.open_timeout, finite=False)
        for name in ("ping_interval", "ping_timeout"):
            check_period(name, getattr(self, name))
        checked_compression(self.compression)
        if not isinstance(self.policy, ClosePolicy):
            raise TypeError(f"policy must be a ClosePolicy, not {type(self.policy).__name__}: {self.policy!r}")
        object.__setattr__(self, "extensions", checked_extensions(self.extensions))
        for name in ("answer_pings", "cancel_on_close"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, not {getattr(self, name)!r}")
        if self.observer is not None and not isinstance(self.observer, Observer):
            raise TypeError(f"observer must be an Observer, not {type(self.observer).__name__}: {self.observer!r}")

    @property
    def deflate(self) -> Deflate | None:
        """What `compression` means."""
        return checked_compression(self.compression)


def checked_extensions(extensions: object) -> tuple[ExtensionFactory, ...]:
    factories = tuple(cast("Iterable[object]", extensions)) if isinstance(extensions, Iterable) else (extensions,)
    for factory in factories:
        if isinstance(factory, Extension):
            name = type(factory).__name__
            raise TypeError(f"extensions needs a new {name} for each connection: give the class, or a function")
        if not callable(factory):
            raise TypeError(f"extensions must be a list of classes or functions that return one, not {factory!r}")
    return cast("tuple[ExtensionFactory, ...]", factories)


def check_limit(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}: {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, or None for no limit, not {value}")


def check_seconds(name: str, value: object, *, finite: bool) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}: {value!r}")
    if math.isnan(value) or value < 0 or (finite and math.isinf(value)):
        kind = "finite and " if finite else ""
        raise ValueError(f"{name} must be {kind}not negative, not {value}")


def check_period(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}: {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be more than 0 and finite, or None to turn it off, not {value}")


Function = TypeVar("Function", bound=Callable[..., Any])


def takes_options(function: Function) -> Function:
    """Let `help()` and editors show every option that *function* takes as `**options`."""
    return spell_out(function, Options)


def spell_out(function: Function, *classes: type) -> Function:
    """Show the fields of *classes*, which are data classes, in place of what *function* takes as `**options`."""
    common = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for options in classes
        for each in fields(options)
        if each.default is not MISSING
    ]
    return spelled_out(common)(function)


def check_names(function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """Check that *function*, whose options are spelled out, has all that it was *given*.

    Raises:
        TypeError: it has not; the text tells what may be meant.
    """
    known = inspect.signature(function).parameters
    for name in given:
        if name not in known:
            text = f"{function.__name__}() got an unexpected keyword argument {name!r}"
            raise TypeError(text + hint_at(name, known))


def hint_at(name: str, known: Mapping[str, object]) -> str:
    for spelling in MEANT.get(name, ()):
        if spelling.partition("=")[0] in known:
            return f": use {spelling}"
    from difflib import get_close_matches  # it takes long to import

    return "".join(f": did you mean {near}?" for near in get_close_matches(name, known, 1))
