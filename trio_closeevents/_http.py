"""The values of the opening handshake: headers, the request, the response. No I/O, no state."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

__all__ = ["PRIVATE", "Headers", "HeadersLike", "Request", "Response"]

# RFC 9110 §5.6.2
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# RFC 9110 §5.5: visible characters, space, tab, and what older servers send (obs-text)
FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

FIELD_LINES: Final = re.compile(rf"{TOKEN.pattern}:{FIELD_VALUE.pattern}(?:\n{TOKEN.pattern}:{FIELD_VALUE.pattern})*")

PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})  # not for logs

SWITCHING_PROTOCOLS: Final = 101
SHOWN: Final = 200  # bytes of a body, for logs
FEW: Final = 32  # fields that are searched one by one; an index of them would be larger than they are

# The names and values that most handshakes have, so that connections share them.
COMMON: Final = {
    spelling: spelling
    for name in (
        "Host", "Upgrade", "Connection", "Origin", "Cookie", "Authorization", "Pragma", "Cache-Control", "User-Agent",
        "Accept", "Accept-Encoding", "Accept-Language", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept", "Date", "Server",
        "WebSocket", "keep-alive, Upgrade", "no-cache", "13",
    )
    for spelling in (name, name.lower())
}  # fmt: skip


class Headers(Mapping[str, str]):
    """HTTP header fields: a mapping whose keys ignore case and may have several values.

    `headers["name"]` gives all values of a name, joined by `", "` as RFC 9110 §5.2 has it; `get_all` gives them one
    by one; `pairs` has every field in the order of the wire. Never changed once made.

    Args:
        fields: a mapping, or pairs of name and value.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a name is no token (RFC 9110 §5.1), or a value has a control character or does not fit into
            Latin-1 (§5.5).
    """

    __slots__ = ("_index", "_pairs")

    def __init__(self, fields: HeadersLike = ()) -> None:
        self._pairs: tuple[tuple[str, str], ...]
        self._index: dict[str, list[str]] | None = None
        if isinstance(fields, Headers):
            self._pairs, self._index = fields._pairs, fields._index
            return
        pairs: Iterable[object] = fields
        if isinstance(fields, Mapping):
            pairs = cast("Mapping[str, str]", fields).items()
        self._pairs = tuple([checked_field(pair) for pair in pairs])
        if len(self._pairs) > FEW:
            self._index = self._by_name()

    @classmethod
    def of_checked(cls, fields: Iterable[tuple[str, str]]) -> Headers:
        """Make headers of names and values that are known to be good."""
        headers = cls()
        headers._pairs = tuple([(COMMON.get(name, name), COMMON.get(value, value)) for name, value in fields])
        if len(headers._pairs) > FEW:
            headers._index = headers._by_name()
        return headers

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every field as (name, value), in the order of the wire, as it was spelled."""
        return self._pairs

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return every value of *name*, in order; empty if there is none."""
        wanted = name.lower()
        if self._index is not None:
            return tuple(self._index.get(wanted, ()))
        return tuple(value for name, value in self._pairs if name.lower() == wanted)

    def __getitem__(self, name: str) -> str:
        if not (values := self.get_all(name)):
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def _by_name(self) -> dict[str, list[str]]:
        if self._index is not None:
            return self._index
        values: dict[str, list[str]] = {}
        for name, value in self._pairs:
            values.setdefault(name.lower(), []).append(value)
        return values

    def __hash__(self) -> int:
        return hash(frozenset((name, tuple(values)) for name, values in self._by_name().items()))

    def __eq__(self, other: object) -> bool:
        return self._by_name() == other._by_name() if isinstance(other, Headers) else NotImplemented

    def __repr__(self) -> str:
        shown = [(name, "..." if name.lower() in PRIVATE else value) for name, value in self._pairs]
        return f"Headers({shown!r})"


HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


def checked_field(pair: object) -> tuple[str, str]:
    parts = cast("Sequence[object]", pair) if isinstance(pair, tuple | list) else ()
    if len(parts) != 2:
        raise TypeError(f"a header is a pair of name and value, not {pair!r}")
    name, value = parts
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"header name and value must be str: {name!r}: {value!r}")
    if not TOKEN.fullmatch(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 §5.1)")
    if not FIELD_VALUE.fullmatch(value):
        shown = "..." if name.lower() in PRIVATE else value
        raise ValueError(f"header {name}: {shown!r} has a character that may not travel in a header (RFC 9110 §5.5)")
    return COMMON.get(name, name), value.strip(" \t")


def headers_from_lines(lines: str) -> Headers:
    """Make `Headers` of the field lines of a message's head, with a line feed between them.

    Raises:
        ValueError: a line is folded (RFC 9112 §5.2 has done away with that), or a value may not travel.
    """
    fields = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines.split("\n"))]
    # Nearly all lines are well-formed: then they need not be looked at one by one.
    return Headers.of_checked(fields) if FIELD_LINES.fullmatch(lines) else Headers(fields if lines else ())


def headers_from_wire(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Make `Headers` of what an HTTP parser has accepted."""
    return Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


@dataclass(frozen=True, slots=True)
class Request:
    """The client's half of the opening handshake.

    Attributes:
        target: the request target as it was sent, path and query: `"/chat?room=1"`.
        headers: every header field, `Host` included.
        subprotocols: what the client offered, in its order of preference.
        method: the HTTP method.
        remote_address: the client's address, as its socket has it, or as a proxy that is trusted has named it; `None`
            where there is none.
    """

    target: str
    headers: Headers
    subprotocols: tuple[str, ...] = ()
    method: str = "GET"
    remote_address: Any = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The target up to the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target behind the `?`, `""` if there is none."""
        return self.target.partition("?")[2]

    @property
    def cookies(self) -> dict[str, str]:
        """Names and values of the `Cookie` header (RFC 6265 §5.4), as they came; of two by one name, the first."""
        pairs = (pair.partition("=") for pair in "; ".join(self.headers.get_all("cookie")).split(";"))
        cookies: dict[str, str] = {}
        for name, equals, value in pairs:
            if equals:
                cookies.setdefault(name.strip(), value.strip().strip('"'))
        return cookies

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User name and password of HTTP basic authentication (RFC 7617); `None` if there are no valid ones."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:
            return None
        return (name, password) if colon else None


@dataclass(frozen=True, slots=True)
class Response:
    """The server's half of the opening handshake: 101, or an answer in place of the upgrade.

    Attributes:
        status: 200-599; 101 for the upgrade itself.
        headers: the header fields. `Content-Length` and `Connection` are added when it is sent.
        body: a `str` is encoded as UTF-8, and gets a `Content-Type` of plain text if *headers* name none.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: *status* is out of its range, or a header may not travel.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def __init__(self, status: int, headers: HeadersLike = (), body: bytes | str = b"") -> None:
        if not isinstance(status, int) or isinstance(status, bool):
            raise TypeError(f"HTTP status must be an int, not {type(status).__name__}: {status!r}")
        if status != SWITCHING_PROTOCOLS and not 200 <= status <= 599:
            raise ValueError(f"HTTP status {status} is out of the range 200-599")
        if isinstance(headers, str | bytes):
            kind = type(headers).__name__
            raise TypeError(
                f"headers must be a mapping or pairs, not {kind}: write Response({status}, body={headers!r:.80})"
            )
        fields = Headers(headers)
        if isinstance(body, str):
            body = body.encode()
            if "content-type" not in fields:
                fields = Headers([*fields.pairs, ("Content-Type", "text/plain; charset=utf-8")])
        elif not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"HTTP body must be bytes or str, not {type(body).__name__}")
        object.__setattr__(self, "status", int(status))
        object.__setattr__(self, "headers", fields)
        object.__setattr__(self, "body", bytes(body))

    def __repr__(self) -> str:
        body = repr(self.body) if len(self.body) <= SHOWN else f"{self.body[:SHOWN]!r}..., {len(self.body)} bytes"
        return f"Response(status={self.status}, headers={self.headers!r}, body={body})"

    @property
    def phrase(self) -> str:
        """The reason phrase that belongs to the status, `""` if it has none."""
        from http import HTTPStatus  # it takes long to import, and connections that open do not need it

        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""
