"""The values of trio-websocket: why a connection was closed, and where its two ends are."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeAlias, cast

import trio
from wsproto.frame_protocol import CloseReason as RegisteredCode

__all__ = ["CloseReason", "Endpoint", "address_of", "addresses_of"]

Address: TypeAlias = tuple[str, int]

RESERVED: Final = (  # codes that nobody has registered with wsproto
    (range(1000, 3000), "RFC_RESERVED"),
    (range(3000, 4000), "IANA_RESERVED"),
    (range(4000, 5000), "PRIVATE_RESERVED"),
)
DEFAULT_PORTS: Final = ((80, False), (443, True))  # and whether TLS is spoken there


class CloseReason:
    """Why a connection was closed. Two of them are equal only if they are the same object.

    Args:
        code: a close code (RFC 6455 §7.1.5).
        reason: a close reason (§7.1.6), or `None`.
    """

    def __init__(self, code: int, reason: str | None) -> None:
        self._code = code
        self._reason = reason
        try:
            self._name = RegisteredCode(code).name
        except ValueError:
            self._name = next((name for codes, name in RESERVED if code in codes), "INVALID_CODE")

    @property
    def code(self) -> int:
        """The close code."""
        return self._code

    @property
    def name(self) -> str:
        """The name of the code, or of the range that it lies in."""
        return self._name

    @property
    def reason(self) -> str | None:
        """The close reason, `None` if there was none."""
        return self._reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}<code={self.code}, name={self.name}, reason={self.reason}>"


class Endpoint:
    """One end of a connection over TCP, or a place where a server listens.

    Attributes:
        address: the IP address.
        port: the TCP port.
        is_ssl: TLS is spoken there.

    Raises:
        ValueError: *address* is no IP address.
    """

    address: IPv4Address | IPv6Address
    port: int
    is_ssl: bool

    def __init__(self, address: str | int, port: int, is_ssl: bool) -> None:
        self.address = ip_address(address)
        self.port = port
        self.is_ssl = is_ssl

    @property
    def url(self) -> str:
        """The URL, without the port if that is the one of its scheme."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        port = "" if (self.port, self.is_ssl) in DEFAULT_PORTS else f":{self.port}"
        return f"{'wss' if self.is_ssl else 'ws'}://{host}{port}"

    def __repr__(self) -> str:
        return f'Endpoint(address="{self.address}", port={self.port}, is_ssl={self.is_ssl})'


def addresses_of(stream: trio.abc.Stream) -> tuple[Address | None, Address | None]:
    """Return where both ends of *stream* are, `None` where that is no TCP or the peer is gone already."""
    below: Any = stream
    if isinstance(stream, trio.SSLStream):
        below = cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    if not isinstance(below, trio.SocketStream):
        return None, None
    return address_of(below.socket.getsockname), address_of(below.socket.getpeername)


def address_of(name: Callable[[], Any]) -> Address | None:
    """Return the IP address and port that a socket has there: a Unix socket has a path, one that is closed nothing."""
    try:
        address: tuple[Any, ...] | str | bytes = name()
    except OSError:
        return None
    return (address[0], address[1]) if isinstance(address, tuple) else None
