"""`TrustedProxies`: whose word is taken for where a client comes from. No I/O, no state.

Theory. Every proxy adds to the right of the header whom it was asked by. So the header is read from the right, as long
as the one who has written an entry is trusted, and what stands further to the left may be a lie. Each field and entry
is taken by itself: nothing that a stranger has put to the left can change how the rest is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ._addresses import Addresses, address_of
from ._http import TOKEN, Headers

__all__ = ["TrustedProxies"]

MOST_COMMAS: Final = 16  # in one entry: they may stand between quotes
QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
PAIR: Final = rf"({TOKEN.pattern})=({TOKEN.pattern}|{QUOTED})"
ENTRY: Final = re.compile(rf"[ \t]*{PAIR}(?:[ \t]*;[ \t]*{PAIR})*[ \t]*")  # RFC 7239 §4


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Whose word a server takes for the address of a client, and in which header.

    The address is that of the last hop, from the right, that no trusted proxy stands for. Where a trusted proxy names
    none (`unknown`, a name of its own such as `_hidden`, or what is not well-formed), it is the proxy's own.

    Attributes:
        addresses: IP addresses, networks (`"10.0.0.0/8"`), and `"unix"` for whoever comes by a Unix socket.
        header: the one that your proxies write: `"Forwarded"` (RFC 7239) or `"X-Forwarded-For"`. There is no default,
            since the other one comes from the client as it is.

    Raises:
        TypeError, ValueError: a field cannot be what it has to be.
    """

    addresses: Iterable[str]
    header: Literal["Forwarded", "X-Forwarded-For"]
    _trusted: Addresses = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_trusted", Addresses(self.addresses))
        object.__setattr__(self, "addresses", self._trusted.given)
        if self.header not in ("Forwarded", "X-Forwarded-For"):
            raise ValueError(f"header must be 'Forwarded' or 'X-Forwarded-For', not {self.header!r}")

    def client_address(self, address: Any, headers: Headers) -> Any:
        """Return where a request comes from that the host at *address* has sent."""
        hops = forwarded(headers) if self.header == "Forwarded" else x_forwarded_for(headers)
        while address in self._trusted and (hop := address_of(next(hops, ""))) is not None:
            address = hop
        return address


def x_forwarded_for(headers: Headers) -> Iterator[str]:
    """Yield the hops, the last one first."""
    for value in reversed(headers.get_all("x-forwarded-for")):
        for node in reversed(value.split(",")):
            yield node.strip(" \t")


def forwarded(headers: Headers) -> Iterator[str]:
    """Yield the hops, the last one first; "" for one that cannot be read, after which there are no more."""
    for value in reversed(headers.get_all("forwarded")):
        left: str | None = value
        while left is not None:
            left, entry = last_entry(left)
            nodes = [node for name, node in re.findall(PAIR, entry) if name.lower() == "for"]
            yield re.sub(r"\\(.)", r"\1", nodes[0].removeprefix('"').removesuffix('"')) if len(nodes) == 1 else ""


def last_entry(value: str) -> tuple[str | None, str]:
    """Return what stands left of the last entry, and that entry; if it is not well-formed, nothing."""
    comma = len(value)
    for _ in range(MOST_COMMAS):
        comma = value.rfind(",", 0, comma)
        if ENTRY.fullmatch(value, comma + 1):
            return value[:comma] if comma >= 0 else None, value[comma + 1 :]
        if comma < 0:
            break
    return None, ""
