"""Whose word is taken for where a client comes from, and what a header says."""

from __future__ import annotations

from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_closeevents import Headers, TrustedProxies
from trio_closeevents._addresses import Addresses, address_of

PROXY: Final = ("127.0.0.1", 4711)
TRUSTED: Final = ["127.0.0.1", "10.0.0.0/8", "fd00::/8", "unix"]


def client(header: Any, *values: str, address: Any = PROXY) -> Any:
    """Return what is taken for the client's address."""
    headers = Headers([(header.lower(), value) for value in values])
    return TrustedProxies(TRUSTED, header=header).client_address(address, headers)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["192.0.2.1"], ("192.0.2.1", 0)),
        (["192.0.2.1:80"], ("192.0.2.1", 80)),
        (["2001:db8::1"], ("2001:db8::1", 0, 0, 0)),
        (["[2001:DB8::1]:65535"], ("2001:db8::1", 65535, 0, 0)),
        (["6.6.6.6, 192.0.2.1,10.0.0.5"], ("192.0.2.1", 0)),
        (["6.6.6.6", "192.0.2.1", "10.0.0.5 ,  10.0.0.6"], ("192.0.2.1", 0)),
        (["10.0.0.1, fd00::1"], ("10.0.0.1", 0)),
        (["6.6.6.6, unknown"], PROXY),
        (["6.6.6.6, unknown, 10.0.0.1"], ("10.0.0.1", 0)),
        (["6.6.6.6, _hidden"], PROXY),
        (["6.6.6.6,"], PROXY),
        ([""], PROXY),
        ([], PROXY),
        (["192.0.2.256"], PROXY),
        (["192.0.2.1:65536"], PROXY),
        (["192.0.2.1:"], PROXY),
        (["[192.0.2.1]"], PROXY),
        (["[::1"], PROXY),
        (["fe80::1%eth0"], PROXY),
        (["a" * 9000 + "," * 5000], PROXY),
        (["6.6.6.6," * 1000 + "192.0.2.1"], ("192.0.2.1", 0)),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(values: list[str], address: object) -> None:
    """Until the first hop that no trusted proxy stands for; what stands left of that may be a lie."""
    assert client("X-Forwarded-For", *values) == address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["for=192.0.2.1"], ("192.0.2.1", 0)),
        (['For="192.0.2.1:80";proto=https;host="a,b;for=6.6.6.6"'], ("192.0.2.1", 80)),
        (['for="[2001:db8::1]:4711"'], ("2001:db8::1", 4711, 0, 0)),
        (['for="[2001:db8::1]:_a"'], ("2001:db8::1", 0, 0, 0)),
        (['for="192.0.2\\.1"'], ("192.0.2.1", 0)),
        (["for=6.6.6.6, for=192.0.2.1 , by=_x ; for=10.0.0.5;proto=http"], ("192.0.2.1", 0)),
        (["for=6.6.6.6", "for=192.0.2.1", "for=10.0.0.5"], ("192.0.2.1", 0)),
        (["for=6.6.6.6, for=unknown"], PROXY),
        (["for=6.6.6.6, for=_hidden, for=10.0.0.5"], ("10.0.0.5", 0)),
        (["for=6.6.6.6, proto=https"], PROXY),
        (["for=6.6.6.6;for=192.0.2.1"], PROXY),
        (["for=6.6.6.6;"], PROXY),
        (["for = 192.0.2.1"], PROXY),
        (['for="192.0.2.1'], PROXY),
        (["192.0.2.1"], PROXY),
        ([""], PROXY),
        ([], PROXY),
        (['for=6.6.6.6;x=", for=192.0.2.1'], ("192.0.2.1", 0)),
        (['for=6.6.6.6;x=", for="[2001:db8::1]"'], ("2001:db8::1", 0, 0, 0)),
        (['for=6.6.6.6;x="', "for=192.0.2.1"], ("192.0.2.1", 0)),
        (['for=192.0.2.1;x="' + "," * 20 + '"'], PROXY),
        (["," * 15000], PROXY),
        (['x="' * 5000], PROXY),
    ],
)
def test_forwarded_is_read_from_the_right(values: list[str], address: object) -> None:
    """RFC 7239; a quote that a stranger has left open hides nothing of what our proxy says."""
    assert client("Forwarded", *values) == address


@pytest.mark.parametrize("address", [("192.0.2.9", 1), ("2001:db8::9", 1, 0, 0), None, (5, 6)])
@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
def test_stranger_may_say_what_it_likes(header: str, address: object) -> None:
    """It is where its socket says it is."""
    assert client(header, "for=127.0.0.1" if header == "Forwarded" else "127.0.0.1", address=address) == address


def test_other_header_is_never_looked_at() -> None:
    """It comes from the client, as it is."""
    headers = Headers({"Forwarded": "for=6.6.6.6", "X-Forwarded-For": "7.7.7.7"})
    assert TrustedProxies(["127.0.0.1"], "Forwarded").client_address(PROXY, headers) == ("6.6.6.6", 0)
    assert TrustedProxies(["127.0.0.1"], "X-Forwarded-For").client_address(PROXY, headers) == ("7.7.7.7", 0)


@pytest.mark.parametrize("address", ["", "/run/x", b"\0name", ("::ffff:10.1.2.3", 5, 0, 0), ("fd00::1", 1, 0, 0)])
def test_proxy_is_known_by_socket_and_by_network(address: object) -> None:
    """A Unix socket, and an IPv4 address on a socket for both."""
    assert client("X-Forwarded-For", "192.0.2.1", address=address) == ("192.0.2.1", 0)
    assert address not in Addresses([])


@given(st.text(st.characters(max_codepoint=0xFF, exclude_characters="\n\r\0", exclude_categories=["Cc"])))
def test_no_header_is_an_exception(value: str) -> None:
    """Whatever it says."""
    for header in ("Forwarded", "X-Forwarded-For"):
        for prefix in ("", "for=", 'for="', "for=10.0.0.1, "):
            assert client(header, prefix + value) is not None
    address_of(value)


@pytest.mark.parametrize(
    ("addresses", "header", "error", "words"),
    [
        ("127.0.0.1", "Forwarded", TypeError, "addresses must be a list of str, not str: '127.0.0.1'"),
        (5, "Forwarded", TypeError, "addresses must be a list of str, not int: 5"),
        ([5], "Forwarded", TypeError, "an address must be a str, not int: 5"),
        (["localhost"], "Forwarded", ValueError, "'localhost' is neither an IP address nor a network"),
        (["10.0.0.1/8"], "Forwarded", ValueError, "10.0.0.1/8 has host bits set"),
        ([], "forwarded", ValueError, "header must be 'Forwarded' or 'X-Forwarded-For', not 'forwarded'"),
    ],
)
def test_proxies_that_cannot_be_are_refused(addresses: Any, header: Any, error: type[Exception], words: str) -> None:
    """When they are named."""
    with pytest.raises(error, match=words):
        TrustedProxies(addresses, header=header)


def test_trusted_proxies_are_a_value() -> None:
    """Equal by what was given, with a text that shows it."""
    one = TrustedProxies(["unix"], "Forwarded")
    assert one == TrustedProxies(("unix",), "Forwarded")
    assert hash(one) == hash(TrustedProxies(("unix",), "Forwarded"))
    assert repr(one) == "TrustedProxies(addresses=('unix',), header='Forwarded')"
    assert one != TrustedProxies(cast("Any", ["unix"]), "X-Forwarded-For")
