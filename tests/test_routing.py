"""Paths and the handlers that they lead to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from nasty import nothing_left
from test_serve import ask
from tls import HOST
from werkzeug.exceptions import Gone, HTTPException
from werkzeug.routing import BaseConverter, BuildError, Map, Rule

from trio_closeevents import (
    HandshakeRejected,
    Headers,
    Request,
    Response,
    Routes,
    WebSocket,
    connect,
    open_server,
    serve,
)
from trio_closeevents.routing import Router

UPGRADE = (
    "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n"
)

router = Router()


@router.route("/")
@router.route("/rooms/<int:room>")
@router.route("/named/<name>/")
@router.route("/page")
async def tell(ws: WebSocket, **arguments: object) -> None:
    """Be a handler that says where it was reached, and by what."""
    await ws.send(f"{ws.request.target} {arguments}")


@router.route("/old/<int:room>", redirect_to="/rooms/<room>")
@router.route("/elsewhere", redirect_to="wss://example.org/there")
async def moved(ws: WebSocket) -> None:
    """Be where nobody arrives."""


@router.http("/health")
def health(request: Request) -> Response:
    """Be a check of a balancer."""
    return Response(200, body="fine\n")


@router.http("/page", methods=["GET", "POST"])
@router.http("/pages/<path:page>", methods=["GET", "POST"])
async def show(request: Request, page: str = "") -> Response:
    """Be a page."""
    await trio.lowlevel.checkpoint()
    return Response(200, body=f"{request.method} {page}")


def request_for(target: str, *, method: str = "GET", upgrade: bool = True, **headers: str) -> Request:
    fields = {"Host": "example.com", **({"Upgrade": "websocket"} if upgrade else {}), **headers}
    return Request(target, Headers(fields), method=method)


async def found(rules: Router, request: Request) -> Any:
    """Return the status, or the arguments of the handler that was found."""
    handler: Any = await rules.find_handler(request)
    return handler.status if isinstance(handler, Response) else handler.keywords


async def where(rules: Router, request: Request) -> str:
    """Return where a redirect leads."""
    answer = await rules.find_handler(request)
    assert isinstance(answer, Response)
    assert answer.status == 308
    return answer.headers["location"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "/ {}"),
        ("", "/ {}"),
        ("/?a=b", "/?a=b {}"),
        ("/rooms/5?a=b", "/rooms/5?a=b {'room': 5}"),
        ("/named/%C3%A4%20%2e/", "/named/%C3%A4%20%2e/ {'name': 'ä .'}"),
        ("/named/a?b=c%26", "/named/a/?b=c%26 {'name': 'a'}"),
        ("/old/7", "/rooms/7 {'room': 7}"),
    ],
)
async def test_path_leads_to_its_handler(path: str, told: str) -> None:
    """With its arguments, converted; redirects are followed by a client."""
    async with nothing_left(), open_server(router, HOST, 0) as server:
        async with connect(f"ws://{HOST}:{server.port}{path}") as ws:
            assert await ws.receive() == told


async def test_router_goes_with_serve_and_its_options(caplog: pytest.LogCaptureFixture) -> None:
    """`process_request` comes first; what a handler raises is logged as always."""
    rules = Router()

    @rules.route("/fail")
    async def fail(ws: WebSocket) -> None:
        raise ValueError("no")

    def check(request: Request) -> Response | None:
        return Response(401) if "authorization" not in request.headers else None

    assert isinstance(rules, Routes)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda **more: serve(rules, HOST, 0, process_request=check, **more))
        for path, auth, status in (("/fail", None, 401), ("/no", ("a", "b"), 404)):
            with pytest.raises(HandshakeRejected, match=str(status)):
                async with connect(f"ws://{HOST}:{server.port}{path}", auth=auth):
                    pytest.fail("opened")
        async with connect(f"ws://{HOST}:{server.port}/fail", auth=("a", "b")) as ws:
            assert (await ws.wait_closed()).code == 1011
        await server.aclose()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError]


@pytest.mark.parametrize(
    ("head", "status", "fields", "body"),
    [
        (f"GET /no HTTP/1.1\n{UPGRADE}", 404, {}, b"nothing is here\n"),
        (f"GET /rooms/five HTTP/1.1\n{UPGRADE}", 404, {}, b"nothing is here\n"),
        (f"GET /rooms/{'1' * 6000} HTTP/1.1\n{UPGRADE}", 404, {}, b"nothing is here\n"),
        (f"GET /{'a/' * 6000} HTTP/1.1\n{UPGRADE}", 404, {}, b"nothing is here\n"),
        (f"GET /named/%ff/ HTTP/1.1\n{UPGRADE}", 400, {}, b"the path is not UTF-8\n"),
        (f"GET /named/%00/ HTTP/1.1\n{UPGRADE}", 400, {}, b"the path is malformed\n"),
        (f"GET /named/%zz/ HTTP/1.1\n{UPGRADE}", 400, {}, b"the path is malformed\n"),
        (f"GET named HTTP/1.1\n{UPGRADE}", 400, {}, b"the path is malformed\n"),
        ("GET /rooms/5 HTTP/1.1\n", 426, {"upgrade": "websocket"}, b"this is a WebSocket server: ask for an upgrade\n"),
        (f"POST /rooms/5 HTTP/1.1\n{UPGRADE}", 405, {"allow": "GET"}, b"method POST is not allowed: use GET\n"),
        (f"GET /named/a HTTP/1.1\n{UPGRADE}", 308, {"location": "/named/a/"}, b""),
        (f"GET /elsewhere HTTP/1.1\n{UPGRADE}", 308, {"location": "wss://example.org/there"}, b""),
        ("GET /health HTTP/1.1\n", 200, {"content-length": "5"}, b"fine\n"),
        ("HEAD /health HTTP/1.1\n", 200, {"content-length": "5"}, b""),
        (f"GET /health HTTP/1.1\n{UPGRADE}", 200, {}, b"fine\n"),
        ("POST /health HTTP/1.1\n", 405, {"allow": "GET, HEAD"}, None),
        ("POST /pages/a/b HTTP/1.1\n", 200, {}, b"POST a/b"),
        ("GET /page HTTP/1.1\n", 200, {}, b"GET "),
        (f"GET http://example.com/health HTTP/1.1\n{UPGRADE}", 200, {}, b"fine\n"),
        ("GET http://example.com HTTP/1.1\n", 426, {}, None),
        ("OPTIONS * HTTP/1.1\n", 400, {}, b"the path is malformed\n"),
    ],
    ids=lambda value: value[:40].split("\n")[0] if isinstance(value, str) else "",
)
async def test_path_that_leads_to_no_connection_is_answered(
    head: str, status: int, fields: dict[str, str], body: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Before any upgrade, shortly, and without a word in the log."""
    caplog.set_level(logging.INFO)
    async with nothing_left(), open_server(router, HOST, 0) as server:
        line, headers, answer = await ask(server.port, f"{head}Host: a\n\n")
    assert line.startswith(f"HTTP/1.1 {status} ")
    assert {name: headers.get(name) for name in fields} == fields
    assert body is None or answer == body
    assert caplog.records == []


async def test_path_may_have_a_page_and_a_connection() -> None:
    """The one for who asks for an upgrade, the other for who does not."""
    async with open_server(router, HOST, 0) as server:
        async with connect(f"ws://{HOST}:{server.port}/page") as ws:
            assert await ws.receive() == "/page {}"
        assert (await ask(server.port, "POST /page HTTP/1.1\nHost: a\n\n"))[2] == b"POST "


ANY_HOST = Map(
    [Rule("/<page>/<path:b>/", host="<c>", endpoint=tell, websocket=True), Rule("/<page>", host="b", endpoint=show)],
    host_matching=True,
)
PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E))


@given(PRINTABLE, PRINTABLE, st.booleans())
async def test_no_target_and_no_host_is_an_exception(rest: str, host: str, upgrade: bool) -> None:
    """Whatever a stranger asks for; every redirect stays where it is."""
    for rules in (router, Router(ANY_HOST), Router(server_name="example.com")):
        for target in (f"/{rest}", f"//{rest}", f"http://{rest}", rest or "*"):
            handler = await rules.find_handler(request_for(target, upgrade=upgrade, Host=host))
            if isinstance(handler, Response):
                assert handler.status in (200, 308, 400, 404, 405)
                assert not handler.headers.get("location", "/").startswith("//")


# -- hosts and other options of werkzeug -------------------------------------------------------------------------------


async def test_subdomains_are_told_apart() -> None:
    """Those of `server_name`, whatever the case, with or without the default port; other hosts are nobody's."""
    rules = Router(server_name="Example.com:443")
    rules.route("/", subdomain="<name>")(tell)
    rules.route("/www")(tell)
    for host, path, expected in (
        ("a.example.com", "/", {"name": "a"}),
        ("A.Example.COM:80", "/", {"name": "a"}),
        ("example.com", "/www", {}),
        ("example.com:443", "/www", {}),
        ("example.com", "/", 404),
        ("example.com:8080", "/www", 404),
        ("aexample.com", "/", 404),
        ("a.example.com.evil", "/", 404),
        ("", "/www", 404),
    ):
        assert await found(rules, request_for(path, Host=host)) == expected, host
    assert rules.build(tell, {"name": "b"}, base="wss://example.com") == "wss://b.example.com/"
    with pytest.raises(
        ValueError, match=r"another host: give a base, to get a whole URL such as 'ws://b.example.com/'"
    ):
        rules.build(tell, {"name": "b"})


async def test_hosts_are_matched_by_a_map_of_your_own() -> None:
    """The target's, where it names one (RFC 9112 §3.2.2); a redirect names the host only if it is another."""
    rules = Router(Map(host_matching=True))
    rules.route("/", host="<name>.example")(tell)
    rules.route("/<int:number>/", host="b.example:8080")(tell)
    rules.route("/<int:number>/old", host="b.example:8080", alias=True)(tell)
    assert await found(rules, request_for("/", Host="a.example")) == {"name": "a"}
    assert await found(rules, request_for("http://c.example/", Host="a.example")) == {"name": "c"}
    assert await found(rules, request_for("wss://c.example?a", Host="a.example")) == {"name": "c"}
    assert await found(rules, request_for("/", Host="a.example.com")) == 404
    assert await found(rules, request_for("/", Host="a" * 64 + ".example")) == 400
    assert await where(rules, request_for("/5?a=b", Host="b.example:8080")) == "/5/?a=b"
    assert rules.build(tell, {"name": "a"}, base="https://a.example") == "wss://a.example/"


async def test_redirect_to_another_host_keeps_the_scheme() -> None:
    """Which only the client knows, if there is TLS at a proxy."""
    rules = Router(server_name="example.com")
    rules.route("/new/<int:n>", subdomain="b")(tell)
    rules.route("/old/<int:n>", subdomain="a", alias=True)(tell)
    assert await where(rules, request_for("/old/5?q", Host="a.example.com")) == "//b.example.com/new/5?q"


async def test_redirect_leads_to_no_host_that_a_stranger_names() -> None:
    """`//host` would be one; `/.//host` is a path."""
    rules = Router(Map(merge_slashes=False))
    rules.route("/y", redirect_to=lambda adapter, **_: "ws://server.invalid//evil.example")(tell)
    assert await where(rules, request_for("/y")) == "/.//evil.example"


class Even(BaseConverter):
    """Be a converter of a program's."""

    regex = r"\d+"

    def to_python(self, value: str) -> int:
        if value == "13":
            raise Gone
        if value == "15":
            raise HTTPException
        if int(value) % 2:
            raise ValueError(value)
        return int(value)


async def test_map_of_your_own() -> None:
    """Its converters, and endpoints that are handlers or names of such."""
    rules = Router(
        Map(
            [
                Rule("/a/<even:number>", endpoint=tell, websocket=True),
                Rule("/b/<even:number>", endpoint="page"),
                Rule("/c", endpoint="nobody"),
                Rule("/d", endpoint=5),
            ],
            converters={"even": Even},
        )
    )

    @rules.endpoint("page")
    def page(request: Request, number: int) -> Response:
        return Response(200, body=str(number))

    assert await found(rules, request_for("/a/4")) == {"number": 4}
    assert await found(rules, request_for("/a/5")) == 404
    assert await found(rules, request_for("/a/13")) == 410
    assert await found(rules, request_for("/a/15")) == 500
    assert await rules.find_handler(request_for("/b/4")) == Response(200, body="4")
    assert (rules.build("page", {"number": 6}), rules.build(tell, {"number": 6})) == ("/b/6", "/a/6")
    for path, name in (("/c", "'nobody'"), ("/d", "5")):
        with pytest.raises(LookupError, match=f"endpoint {name} has no handler"):
            await rules.find_handler(request_for(path))
    assert [rule.rule for rule in rules.rules.iter_rules()][:1] == ["/a/<even:number>"]


def test_path_is_built_from_a_handler_and_its_arguments() -> None:
    """What the rule does not know becomes the query; a base makes it a URL."""
    assert router.build(health) == "/health"
    assert router.build(tell, {"room": 5, "a": "ä b"}) == "/rooms/5?a=%C3%A4+b"
    assert router.build(tell, {"name": "ä"}) == "/named/%C3%A4/"
    assert router.build(tell, {"room": 5}, base="https://example.com:8080") == "wss://example.com:8080/rooms/5"
    assert router.build(health, base="wss://example.com") == "https://example.com/health"
    with pytest.raises(BuildError):
        Router().build(show)
    for base in ("example.com", "wss:", "//a"):
        with pytest.raises(ValueError, match="must be a scheme and a host"):
            router.build(tell, base=base)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Router(cast("Any", 5)), TypeError, "rules must be a werkzeug.routing.Map, not int: 5"),
        (lambda: Router(server_name=cast("Any", b"a")), TypeError, "server_name must be a str, not bytes"),
        (lambda: Router(Map(host_matching=True), server_name="a"), ValueError, "give either server_name"),
        (lambda: Router().route("/")(cast("Any", 5)), TypeError, "the handler of '/' must be a function, not int: 5"),
        (lambda: Router().route("x")(tell), ValueError, "URL rule 'x' must start with a slash"),
    ],
)
def test_router_that_cannot_be_is_refused(make: Callable[[], object], error: type[Exception], words: str) -> None:
    """When it is made, or the route is."""
    with pytest.raises(error, match=words):
        make()


# -- routes of another kind --------------------------------------------------------------------------------------------


class Own:
    """Be routes that need no werkzeug."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def find_handler(self, request: Request) -> Any:
        """Give the answer."""
        return self.answer


async def test_any_object_that_finds_handlers_is_routes() -> None:
    """Also one that does so without being async."""
    async with open_server(Own(tell), HOST, 0) as server:
        async with connect(f"ws://{HOST}:{server.port}/x") as ws:
            assert await ws.receive() == "/x {}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "find_handler must return a handler or a Response, not None"),
        (Response(101), "find_handler cannot answer 101: return a handler"),
    ],
)
async def test_routes_that_find_nothing_at_all_are_an_error(
    answer: object, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is answered 500, and the log tells why."""
    async with open_server(Own(answer), HOST, 0) as server:
        assert (await ask(server.port, "GET / HTTP/1.1\nHost: a\n\n"))[0].startswith("HTTP/1.1 500 ")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert words in str(record.exc_info[1])
