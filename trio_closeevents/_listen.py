"""`Listen`: where a server listens, and what it listens on."""

from __future__ import annotations

import os
import socket
import ssl as stdlib_ssl
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import trio

from ._addresses import EVERYBODY, Addresses
from ._opening import check_ssl_context

__all__ = ["Listen", "ListenAddress", "Listening", "inherited_sockets", "open_listeners"]

ListenAddress: TypeAlias = tuple[str | None, int] | str | os.PathLike[str] | socket.socket | trio.SocketListener

MOST_WAITING: Final = 0xFFFF  # connections that wait to be accepted; the system has a limit of its own
FIRST_INHERITED: Final = 3  # the descriptor behind the standard ones, by the convention of systemd


@dataclass(frozen=True, slots=True)
class Listen:
    """One place where a server listens.

    Attributes:
        address: a host and a port, as for `open_server`; the path of a Unix socket; or a socket that was given, a
            `socket.socket` that listens already or a `trio.SocketListener`, which belongs to the server from now on.
        ssl_context: serve `wss:` there.
        backlog: how many connections wait to be accepted; `None`: as many as the system allows.
        reuse_port: let several processes listen on the same port, among which the system distributes the connections
            (`SO_REUSEPORT`; not on Windows).
        proxy_protocol: every connection begins with a header of the PROXY protocol, version 1 or 2, before TLS and
            HTTP, and `remote_address` is what it says. One without is dropped, with a line at level DEBUG. `True`
            believes everybody who can reach this place; a list of IP addresses, networks (`"10.0.0.0/8"`) and `"unix"`
            says whom, and drops others.

    Raises:
        TypeError, ValueError: a field cannot be what it has to be.
    """

    address: ListenAddress
    ssl_context: stdlib_ssl.SSLContext | None = None
    backlog: int | None = None
    reuse_port: bool = False
    proxy_protocol: bool | Iterable[str] = False

    def __post_init__(self) -> None:
        if isinstance(self.address, tuple):
            check_address(self.address)
        elif not isinstance(self.address, str | os.PathLike | socket.socket | trio.SocketListener):
            raise TypeError(f"cannot listen on {self.address!r}: use (host, port), a path, or a socket")
        if self.address == "":
            raise ValueError("the path of a Unix socket is not empty")
        if self.ssl_context is not None:
            check_ssl_context(self.ssl_context, server_side=True)
        if self.backlog is not None and (not isinstance(self.backlog, int) or isinstance(self.backlog, bool)):
            raise TypeError(f"backlog must be an int or None, not {type(self.backlog).__name__}: {self.backlog!r}")
        if self.reuse_port and not isinstance(self.address, tuple):
            raise ValueError("reuse_port goes with a host and a port")
        if self.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("this system has no SO_REUSEPORT: use one process")
        if not isinstance(self.proxy_protocol, bool):
            object.__setattr__(self, "proxy_protocol", Addresses(self.proxy_protocol).given)


def check_address(address: tuple[object, ...]) -> None:
    if len(address) != 2:
        raise TypeError(f"an address is a host and a port, not {address!r}")
    host, port = address
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int, not {type(port).__name__}: {port!r}")
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"port {port} is out of the range 0-65535")
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {type(host).__name__}: {host!r}")
    if host == "":
        raise ValueError("host must not be empty: use None to listen on every address of this machine")


class Listening:
    """A listener that is open, and what is spoken there.

    Attributes:
        proxies: those whose PROXY headers are believed; `None` where there is no such header.
    """

    def __init__(self, listener: trio.SocketListener, place: Listen, path: str | None = None) -> None:
        self.listener = listener
        self.ssl_context = place.ssl_context
        proxies = EVERYBODY if place.proxy_protocol is True else place.proxy_protocol
        self.proxies = None if proxies is False else Addresses(proxies)
        self.address: Any = listener.socket.getsockname()
        self._path = path  # of a Unix socket that we have made
        self._file = None if path is None else identity(path)

    @property
    def port(self) -> int | None:
        """The TCP port, if it has one."""
        is_internet = self.listener.socket.family in (socket.AF_INET, socket.AF_INET6)
        return cast("int", self.address[1]) if is_internet else None

    def close(self) -> None:
        """Stop listening, and remove the file of a Unix socket, unless somebody has put another there. Idempotent."""
        self.listener.socket.close()
        path, self._path = self._path, None
        if path is not None and identity(path) == self._file:
            os.unlink(path)


async def open_listeners(places: Iterable[Listen]) -> list[Listening]:
    """Open all of *places*, or none.

    Raises:
        OSError: one cannot be listened on.
    """
    opened: list[Listening] = []
    with ExitStack() as on_failure:
        for place in places:
            for each in await listen(place):
                on_failure.callback(each.close)
                opened.append(each)
        on_failure.pop_all()
    return opened


async def listen(place: Listen) -> list[Listening]:
    address = place.address
    if isinstance(address, tuple):
        host, port = address
        if place.reuse_port:
            listeners = await open_shared_port(host, port, place.backlog)
        else:
            listeners = list(await trio.open_tcp_listeners(port, host=host, backlog=place.backlog))
        return [Listening(listener, place) for listener in listeners]
    if isinstance(address, trio.SocketListener):
        return [Listening(address, place)]
    if isinstance(address, socket.socket):
        return [Listening(trio.SocketListener(trio.socket.from_stdlib_socket(address)), place)]
    path = os.fspath(address)
    is_file = not path.startswith("\0")  # and not a name in Linux' abstract namespace
    return [Listening(await open_unix_listener(path, place.backlog), place, path if is_file else None)]


async def open_shared_port(host: str | None, port: int, backlog: int | None) -> list[trio.SocketListener]:
    """Do what `trio.open_tcp_listeners` does, with `SO_REUSEPORT`; all addresses of *host* get the same port."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[trio.SocketListener] = []
    with ExitStack() as on_failure:
        for family, kind, protocol, _, address in found:
            made = trio.socket.socket(family, kind, protocol)
            on_failure.callback(made.close)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = port or (listeners[0].socket.getsockname()[1] if listeners else 0)
            await made.bind((address[0], port, *address[2:]))
            made.listen(MOST_WAITING if backlog is None else backlog)
            listeners.append(trio.SocketListener(made))
        on_failure.pop_all()
    return listeners


async def open_unix_listener(path: str, backlog: int | None) -> trio.SocketListener:
    """Listen on a Unix socket; a file that a server has left behind which is no more is removed first."""
    if is_abandoned(path):
        os.unlink(path)
    made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with ExitStack() as on_failure:
        on_failure.callback(made.close)
        await made.bind(path)
        made.listen(MOST_WAITING if backlog is None else backlog)
        on_failure.pop_all()
    return trio.SocketListener(made)


def is_abandoned(path: str) -> bool:
    """Tell whether there is a Unix socket at *path* on which nobody listens."""
    if path.startswith("\0") or not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # somebody listens, and is busy; or it is not ours to know
            return False
    return False


def identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that this process was started with, by the convention of systemd.

    That is socket activation (`sd_listen_fds(3)`): the variables `LISTEN_PID` and `LISTEN_FDS` tell, and without them,
    or if they are meant for another process, there are none. Use each as `Listen(socket)`. Not for a second call.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    number = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=each) for each in range(FIRST_INHERITED, FIRST_INHERITED + number)]
