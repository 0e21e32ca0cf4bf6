"""The header of the PROXY protocol, in both versions: what it says, where it ends, and what is none."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_closeevents._protocol.proxy_protocol import BadProxyHeader, ProxyHeader

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V4: Final = b"\xc0\x00\x02\x01\x7f\x00\x00\x01\x30\x39\x00\x50"  # 192.0.2.1:12345 to 127.0.0.1:80
V6: Final = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + bytes(15) + b"\x01\x30\x39\x00\x50"
UNIX: Final = b"/run/\xff".ljust(108, b"\0") + b"/run/app".ljust(108, b"\0")

GOOD: Final = {
    b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 80\r\n": ("192.0.2.1", 12345),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n": ("255.255.255.255", 65535),
    b"PROXY TCP6 2001:db8::1 ::1 12345 80\r\n": ("2001:db8::1", 12345, 0, 0),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": None,
    b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n": None,
    SIGNATURE + b"\x21\x11\x00\x0c" + V4: ("192.0.2.1", 12345),
    SIGNATURE + b"\x21\x11\x00\x13" + V4 + b"\x04\x00\x04abcd": ("192.0.2.1", 12345),
    SIGNATURE + b"\x21\x11\xff\xff" + V4 + bytes(0xFFFF - 12): ("192.0.2.1", 12345),
    SIGNATURE + b"\x21\x21\x00\x24" + V6: ("2001:db8::1", 12345, 0, 0),
    SIGNATURE + b"\x21\x31\x00\xd8" + UNIX: "/run/\udcff",
    SIGNATURE + b"\x21\x31\x00\xd8" + b"\0name".ljust(216, b"\0"): b"\0name",
    SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216): "",
    SIGNATURE + b"\x21\x00\x00\x00": None,
    SIGNATURE + b"\x21\x01\x00\x03abc": None,
    SIGNATURE + b"\x21\x12\x00\x0c" + V4: None,  # a datagram
    SIGNATURE + b"\x20\x00\x00\x00": None,
    SIGNATURE + b"\x20\x11\x00\x0c" + V4: None,  # the proxy's own
    SIGNATURE + b"\x20\xff\x00\x01x": None,
}
BAD: Final = {
    b"GET / HTTP/1.1\r\n": "no PROXY header begins with b'G",
    b"\x16\x03\x01": "no PROXY header begins",
    b"PROXY": "",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 80\n\n\n": "",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 80 \r\n": "malformed line",
    b"PROXY  TCP4 192.0.2.1 127.0.0.1 12345 80\r\n": "malformed line",
    b"PROXY TCP5 192.0.2.1 127.0.0.1 12345 80\r\n": "malformed line",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 012 80\r\n": "malformed line",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 \xb2 80\r\n": "malformed line",
    b"PROXY UNKNOWNS\r\n": "malformed line",
    b"PROXY \r\n": "malformed line",
    b"PROXY TCP4 192.0.2.256 127.0.0.1 1 80\r\n": "malformed address",
    b"PROXY TCP4 192.0.2.01 127.0.0.1 1 80\r\n": "malformed address",
    b"PROXY TCP4 ::1 127.0.0.1 1 80\r\n": "are not both addresses of TCP4",
    b"PROXY TCP6 ::1 127.0.0.1 1 80\r\n": "are not both addresses of TCP6",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 65536 80\r\n": "out of the range 0-65535",
    b"PROXY TCP4 192.0.2.1 127.0.0.1 1 99999\r\n": "out of the range 0-65535",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n": "no end within 107 bytes",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\n": "no end within 107 bytes",
    SIGNATURE[:-1] + b"\r\x21\x11\x00\x0c": "no PROXY header begins",
    SIGNATURE + b"\x11\x11\x00\x0c" + V4: "unknown version and command 0x11",
    SIGNATURE + b"\x22\x11\x00\x0c" + V4: "unknown version and command 0x22",
    SIGNATURE + b"\x21\x41\x00\x0c" + V4: "unknown address family and transport 0x41",
    SIGNATURE + b"\x21\x13\x00\x0c" + V4: "unknown address family and transport 0x13",
    SIGNATURE + b"\x21\x11\x00\x0b" + V4: "11 bytes are too short for an address of family 1",
    SIGNATURE + b"\x21\x21\x00\x0c" + V4: "12 bytes are too short for an address of family 2",
}


def feed(data: bytes, most: int) -> tuple[ProxyHeader, bytes]:
    """Feed a header as it asks for, at most so many bytes at once; return it, and what it did not want."""
    header = ProxyHeader()
    while header.wanted and data:
        size = min(header.wanted, most)
        header.receive_data(data[:size])
        data = data[size:]
    return header, data


@pytest.mark.parametrize("most", [1, 5, 10**6])
@pytest.mark.parametrize("data", GOOD, ids=lambda data: repr(data[:30]))
def test_header_says_who_the_client_is(data: bytes, most: int) -> None:
    """In whatever pieces it arrives; what stands behind it is not asked for."""
    header, rest = feed(data + b"\r\nGET", most)
    assert header.wanted == 0
    assert header.address == GOOD[data]
    assert rest == b"\r\nGET"


@pytest.mark.parametrize("most", [1, 5, 10**6])
@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:30]))
def test_what_is_no_header_is_refused(data: bytes, most: int) -> None:
    """As soon as it is clear; what is but a part of one waits for more."""
    if BAD[data]:
        with pytest.raises(BadProxyHeader, match=BAD[data]):
            feed(data, most)
    else:
        header, _ = feed(data, most)
        assert header.wanted
        assert header.address is None


BEGINNINGS: Final = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21"]
)


@given(BEGINNINGS, st.binary(max_size=300), st.integers(1, 40))
@example(b"PROXY ", b"\r\nabcdefghijk\r\n", 40)
@example(b"PROXY ", b"\r\n\x00", 1)
def test_garbage_is_refused_or_waits(beginning: bytes, garbage: bytes, most: int) -> None:
    """Nothing else is raised, nothing is asked for without end, and pieces change nothing."""
    outcomes: list[object] = []
    for each in (1, most, 10**6):
        try:
            header, rest = feed(beginning + garbage, each)
        except BadProxyHeader:
            outcomes.append(None)
        else:
            assert 0 <= header.wanted <= 4 + 0xFFFF + len(SIGNATURE)
            outcomes.append((header.wanted, header.address, rest))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.ip_addresses(), st.integers(0, 0xFFFF), st.binary(max_size=100), st.booleans())
def test_headers_that_proxies_write_are_read(address: object, port: int, behind: bytes, binary: bool) -> None:
    """Every address and port, in both versions."""
    text, version = str(address), address.version  # type: ignore[attr-defined]
    if binary:
        block = (address.packed * 2) + port.to_bytes(2) + b"\0\0" + behind  # type: ignore[attr-defined]
        data = SIGNATURE + (b"\x21\x11" if version == 4 else b"\x21\x21") + len(block).to_bytes(2) + block
    else:
        data = f"PROXY TCP{version} {text} {text} {port} 0\r\n".encode()
    header, rest = feed(data + b"x", 10**6)
    assert (header.address, rest) == ((text, port) if version == 4 else (text, port, 0, 0), b"x")
