"""`Addresses`: which hosts are meant, and the address that a text names. No I/O, no state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

__all__ = ["EVERYBODY", "Address", "Addresses", "address_of", "socket_address"]

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes

UNIX: Final = "unix"
EVERYBODY: Final = ("0.0.0.0/0", "::/0", UNIX)
MAX_PORT: Final = 0xFFFF

# RFC 7239 §6, and what is usual in X-Forwarded-For: an IPv6 address without brackets, if there is no port.
NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}|_[0-9A-Za-z._-]+))?|([0-9A-Fa-f:.]+)")


class Addresses:
    """A set of hosts, which is asked with addresses as sockets have them.

    Args:
        given: each is an IP address, a network (`"10.0.0.0/8"`), or `"unix"` for whoever comes by a Unix socket.

    Raises:
        TypeError: not an iterable of `str`; a single `str` is refused too, since it is taken for one by mistake.
        ValueError: one is none of these.
    """

    def __init__(self, given: Iterable[str]) -> None:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"addresses must be a list of str, not {type(given).__name__}: {given!r}")
        self.given = tuple(given)
        self._networks: list[IPv4Network | IPv6Network] = []
        for each in self.given:
            if not isinstance(each, str):
                raise TypeError(f"an address must be a str, not {type(each).__name__}: {each!r}")
            if each == UNIX:
                continue
            try:
                self._networks.append(ip_network(each))
            except ValueError as error:
                raise ValueError(
                    f"{each!r} is neither an IP address nor a network such as '10.0.0.0/8', nor 'unix': {error}"
                ) from None

    def __contains__(self, address: object) -> bool:
        if isinstance(address, str | bytes):  # what a Unix socket calls its peer
            return UNIX in self.given
        if not (isinstance(address, tuple) and isinstance(address[0], str)):
            return False
        host = ip_address(address[0])
        if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:  # on a socket for both
            host = host.ipv4_mapped
        return any(host in network for network in self._networks)


def address_of(node: str) -> Address | None:
    """Return the address that a proxy has named, `None` if that is none; the port is 0 if it was not told."""
    parts = NODE.fullmatch(node)
    if parts is None:
        return None
    try:
        host = ip_address(parts[1] or parts[2] or parts[4])
    except ValueError:
        return None
    if parts[1] and isinstance(host, IPv4Address):
        return None
    port = int(parts[3]) if parts[3] and parts[3].isdigit() else 0
    return None if port > MAX_PORT else socket_address(host, port)


def socket_address(host: IPv4Address | IPv6Address, port: int) -> Address:
    """Return *host* and *port* in the form in which sockets have them."""
    return (str(host), port) if isinstance(host, IPv4Address) else (str(host), port, 0, 0)
