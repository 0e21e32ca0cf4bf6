"""The tables of names in docs/coming_from_websockets.rst: every name is one, with the default that stands there."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pytest
import trio
import websockets.asyncio.client as asyncio_client
import websockets.asyncio.router as asyncio_router
import websockets.asyncio.server as asyncio_server
import websockets.client
import websockets.exceptions
import websockets.http11
import websockets.protocol
import websockets.trio.client as trio_client
import websockets.trio.router as trio_router
import websockets.trio.server as trio_server

import trio_closeevents
from trio_closeevents.testing import open_websocket_pair

from .libraries import HOST, port_of
from .names import Roots, Signature, check_call, check_option, find, parameters
from .pages import DOCS, literals, table

PAGE: Final = "coming_from_websockets"
OPTIONS: Final = ("websockets-options", "websockets-connect", "websockets-serve")
APIS: Final = ("asyncio", "trio")
THERE: Final = re.compile(r"``(.+?)``(?: \((asyncio|trio)\))?")
# What goes on to another function, by the documentation of websockets, counts too.
CONNECT: Final[dict[str, Signature]] = {
    "asyncio": parameters(asyncio_client.connect, asyncio.BaseEventLoop.create_connection),
    "trio": parameters(trio_client.connect, trio.open_tcp_stream),
}
SERVE: Final[dict[str, Signature]] = {
    "asyncio": parameters(asyncio_server.serve, asyncio.BaseEventLoop.create_server),
    "trio": parameters(trio_server.serve),
}
SIDES: Final = {
    "websockets-options": ((CONNECT, trio_closeevents.connect), (SERVE, trio_closeevents.open_server)),
    "websockets-connect": ((CONNECT, trio_closeevents.connect),),
    "websockets-serve": ((SERVE, trio_closeevents.open_server),),
}


def options_there(cell: str) -> Iterable[tuple[str, str]]:
    """Return each API of websockets that is meant, and the option as *cell* tells it."""
    for told, api in THERE.findall(cell):
        yield from ((each, told) for each in ([api] if api else APIS) if not told.isupper())


@pytest.mark.parametrize("name", OPTIONS)
def test_option_is_one_in_both_with_the_default_of_the_page(name: str) -> None:
    """And so in each of the functions that the table is about."""
    for there, here, _ in table(PAGE, name):
        for signatures, function in SIDES[name]:
            for api, told in options_there(there):
                check_option(told, signatures[api])
            for told in literals(here):
                if told.startswith("stay_connected"):
                    assert "policy" in inspect.signature(trio_closeevents.stay_connected).parameters
                else:
                    check_option(told, inspect.signature(function).parameters)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("own", "own_table"),
    [
        ({"asyncio": asyncio_client.connect, "trio": trio_client.connect}, "websockets-connect"),
        ({"asyncio": asyncio_server.serve, "trio": trio_server.serve}, "websockets-serve"),
    ],
    ids=["connect", "serve"],
)
def test_no_option_is_left_out(own: Mapping[str, Callable[..., Any]], own_table: str, api: str) -> None:
    """Each that a function of websockets has stands in a table."""
    cells = [there for name in ("websockets-options", own_table) for there, _, _ in table(PAGE, name)]
    told = {option.partition("=")[0] for cell in cells for each, option in options_there(cell) if each == api}
    assert set(inspect.signature(own[api]).parameters) - {"kwargs", "task_status"} <= told


def test_our_options_are_all_there() -> None:
    """But for those that have no counterpart, and that nobody looks for who comes from there."""
    told = {
        option.partition("=")[0] for name in OPTIONS for _, here, _ in table(PAGE, name) for option in literals(here)
    }
    ours = {*parameters(trio_closeevents.connect, trio_closeevents.open_server)}
    assert ours - told == {"answer_pings", "cancel_on_close", "on_close", "policy", "trusted_proxies"}


# -- the connection ----------------------------------------------------------------------------------------------------


async def names_of_connections() -> dict[str, set[str]]:
    """Return the attributes that open connections have, those of clients and servers together."""
    found: dict[str, set[str]] = {}

    async def serve_asyncio() -> set[str]:
        names: set[str] = set()

        async def handler(ws: asyncio_server.ServerConnection) -> None:
            names.update(dir(ws))

        async with asyncio_server.serve(handler, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio_client.connect(f"ws://{HOST}:{port}/", proxy=None) as ws:
                names.update(dir(ws))
        return names

    found["asyncio"] = await trio.to_thread.run_sync(asyncio.run, serve_asyncio())
    found["trio"] = set()

    async def handler(ws: trio_server.ServerConnection) -> None:
        found["trio"].update(dir(ws))

    async with trio.open_nursery() as nursery:
        server: trio_server.Server = await nursery.start(trio_server.serve, handler, 0)
        async with trio_client.connect(f"ws://{HOST}:{port_of(server.listeners[0])}/", proxy=None) as ws:
            found["trio"].update(dir(ws))
        nursery.cancel_scope.cancel()
    found["here"] = {*dir(trio_closeevents.WebSocket)}
    return found


# As its documentation has them; what else is there without an underscore is its own.
CONNECTION_THERE: Final = {
    *("recv", "recv_streaming", "send", "ping", "pong", "wait_closed", "respond", "username"),
    *("id", "logger", "local_address", "remote_address", "latency", "state", "request", "response", "subprotocol"),
    *("close_code", "close_reason"),
}


async def test_name_of_a_connection_is_one_in_both() -> None:
    """What stands behind `ws.` is an attribute of an open connection; `username` comes with `basic_auth`."""
    found = await names_of_connections()
    found = {"asyncio": found["asyncio"] | {"username"}, "trio": found["trio"] | {"username"}, "here": found["here"]}
    told: dict[str, set[str]] = {api: set() for api in APIS}
    for there, here, _ in table(PAGE, "websockets-connection"):
        for api, text in options_there(there):
            told[api].update(re.findall(r"\bws\.(\w+)", text))
        for text in literals(here):
            assert {*re.findall(r"\bws\.(\w+)", text)} <= found["here"]
            assert all(hasattr(trio_closeevents, name) for name in re.findall(r"^[A-Z]\w+", text))
    for api in APIS:
        assert told[api] <= found[api]
        assert told[api] >= CONNECTION_THERE | {"close" if api == "asyncio" else "aclose"}


async def test_remarks_on_the_connection_are_true() -> None:
    """What the table and the paragraph below it say of values."""
    async with open_websocket_pair() as (client, _):
        assert client.latency is None
        assert client.remote_address is None
        assert client.close_event is None
        with pytest.raises(ValueError, match="nothing at all"):
            await client.send([])
    assert {each.name: each.value for each in trio_closeevents.ReadyState} == {
        each.name: each.value for each in websockets.protocol.State
    }
    assert list(inspect.signature(asyncio_client.ClientConnection.recv).parameters) == ["self", "decode"]
    request = trio_closeevents.Request("/chat?room=1", trio_closeevents.Headers([("A", "1"), ("A", "2")]))
    assert (request.path, request.target, request.query) == ("/chat", "/chat?room=1", "room=1")
    assert request.headers["A"] == "1, 2"
    assert request.headers.get_all("A") == ("1", "2")
    there = websockets.Headers([("A", "1"), ("A", "2")])
    with pytest.raises(websockets.MultipleValuesError):
        there["A"]


# -- exceptions and servers --------------------------------------------------------------------------------------------


def test_no_exception_is_left_out() -> None:
    """Each of `websockets.exceptions` stands in the table, and what stands there is an exception in either library."""
    told: set[str] = set()
    for there, here, _ in table(PAGE, "websockets-exceptions"):
        told.update(literals(there))
        for name in literals(here):
            kind = find(name, trio_closeevents, builtins, Roots)
            assert isinstance(kind, type)
            assert issubclass(kind, Exception)
    assert told - {"OSError", "TimeoutError"} == set(websockets.exceptions.__all__)


def test_name_of_a_server_is_one_in_both() -> None:
    """Functions, classes and their members, with the parameters that stand there."""
    places: dict[str, tuple[Any, ...]] = {
        "asyncio": (asyncio_server, asyncio_client, asyncio_router),
        "trio": (trio_server, trio_client, trio_router),
    }
    for there, here, _ in table(PAGE, "websockets-server"):
        for api, told in options_there(there):
            check_call(told, *places[api])
        for told in literals(here):
            check_call(told, trio_closeevents, Roots)
    public = {*trio_server.__all__, *asyncio_server.__all__, *asyncio_router.__all__, *trio_router.__all__}
    text = " ".join(there for there, _, _ in table(PAGE, "websockets-server"))
    assert {name for name in public if not re.search(rf"\b{name}\b", text)} == set()


def test_environment_is_named_as_it_is() -> None:
    """The variables of websockets that the page names are looked at there."""
    text = (DOCS / f"{PAGE}.rst").read_text(encoding="utf-8")
    there = "".join(map(inspect.getsource, (websockets.client, websockets.http11, asyncio_client)))
    named = set(re.findall(r"WEBSOCKETS_\w+", text))
    assert named
    assert all(name in there for name in named)
