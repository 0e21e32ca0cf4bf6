"""The PROXY protocol, sans-IO: what a proxy says of its client before anything else, in version 1 or 2.

A header tells how long it is as it goes on. `wanted` is how many bytes are missing at least, so that whoever reads from
a socket takes nothing that stands behind the header.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from .._addresses import MAX_PORT, Address, socket_address

__all__ = ["BadProxyHeader", "ProxyHeader"]

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"  # version 2
FIXED: Final = len(SIGNATURE) + 4  # version and command, family, length
WORD: Final = b"PROXY "  # version 1
SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
LONGEST_LINE: Final = 107

LOCAL: Final = 0x20  # version 2, command 0: the proxy speaks for itself
PROXIED: Final = 0x21
UNSPECIFIED, INET, INET6, UNIX = range(4)
STREAM: Final = 1
DATAGRAM: Final = 2
ADDRESSES: Final = {UNSPECIFIED: 0, INET: 2 * 4 + 4, INET6: 2 * 16 + 4, UNIX: 2 * 108}  # bytes of both ends
LARGEST: Final = FIXED + max(ADDRESSES.values())  # what is kept; extensions (TLVs) follow, and are thrown away

LINE: Final = re.compile(r"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n")


class BadProxyHeader(Exception):
    """This is no header of the PROXY protocol."""


class ProxyHeader:
    """A header that arrives.

    Attributes:
        wanted: how many bytes are missing at least; 0 when it is whole.
        address: the client's, in the form in which sockets have it; `None` if the proxy speaks for itself, or does not
            know.
    """

    def __init__(self) -> None:
        self.wanted = SHORTEST
        self.address: Address | None = None
        self._data = b""
        self._size = 0  # of all that has arrived, what was thrown away included

    def receive_data(self, data: bytes) -> None:
        """Take in what was read: at most `wanted` bytes.

        Raises:
            BadProxyHeader: as soon as it is clear.
        """
        self._size += len(data)
        self._data += data[: LARGEST - len(self._data)]
        if self._data.startswith(SIGNATURE):
            self._read_binary()
        elif self._data.startswith(WORD):
            self._read_line()
        elif SIGNATURE.startswith(self._data) or WORD.startswith(self._data):
            self.wanted = SHORTEST - self._size
        else:
            raise BadProxyHeader(f"no PROXY header begins with {self._data[:SHORTEST]!r}")

    def _read_line(self) -> None:
        if b"\r\n" not in self._data:
            missing = 1 if self._data.endswith(b"\r") else 2
            if self._size + missing > LONGEST_LINE:
                raise BadProxyHeader(f"the line has no end within {LONGEST_LINE} bytes")
            self.wanted = max(SHORTEST - self._size, missing)
            return
        self.wanted = 0
        if re.match(rb"PROXY UNKNOWN[ \r]", self._data):
            return
        fields = LINE.fullmatch(self._data.decode("latin-1"))
        if fields is None:
            raise BadProxyHeader(f"malformed line {self._data!r}")
        kind = IPv4Address if fields[1] == "TCP4" else IPv6Address
        try:
            source, destination = ip_address(fields[2]), ip_address(fields[3])
        except ValueError as error:
            raise BadProxyHeader(f"malformed address: {error}") from error
        if not isinstance(source, kind) or not isinstance(destination, kind):
            raise BadProxyHeader(f"{source} and {destination} are not both addresses of {fields[1]}")
        if max(int(fields[4]), int(fields[5])) > MAX_PORT:
            raise BadProxyHeader(f"a port is out of the range 0-{MAX_PORT}: {self._data!r}")
        self.address = socket_address(source, int(fields[4]))

    def _read_binary(self) -> None:
        self.wanted = FIXED - self._size
        if self.wanted > 0:
            return
        command, kind = self._data[12], self._data[13]
        family, transport = kind >> 4, kind & 0xF
        length = int.from_bytes(self._data[14:FIXED])
        if command not in (LOCAL, PROXIED):
            raise BadProxyHeader(f"unknown version and command {command:#04x}")
        if command == PROXIED and (family not in ADDRESSES or transport > DATAGRAM):
            raise BadProxyHeader(f"unknown address family and transport {kind:#04x}")
        if command == PROXIED and length < ADDRESSES[family]:
            raise BadProxyHeader(f"{length} bytes are too short for an address of family {family}")
        self.wanted = FIXED + length - self._size
        if self.wanted == 0 and command == PROXIED and transport == STREAM:
            self.address = self._address(family, self._data[FIXED:])

    def _address(self, family: int, block: bytes) -> Address | None:
        if family == INET:
            return socket_address(IPv4Address(block[:4]), int.from_bytes(block[8:10]))
        if family == INET6:
            return socket_address(IPv6Address(block[:16]), int.from_bytes(block[32:34]))
        if family == UNSPECIFIED:
            return None
        if block.startswith(b"\0"):  # a name in Linux' abstract namespace, or none
            return block[:108].rstrip(b"\0") or ""
        return block[:108].partition(b"\0")[0].decode("utf-8", "surrogateescape")
