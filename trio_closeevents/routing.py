"""`Router`: paths and the handlers they lead to, matched by `werkzeug.routing` (extra `routing`).

Theory. The path is matched where `process_request` stands, before the upgrade, so that one that leads nowhere is
answered 404 and not 101. What is found is a handler that has its arguments already; nothing is matched twice, and
nothing has to be remembered with the connection.

werkzeug speaks of URLs, of which a server behind a proxy knows neither the scheme nor, for certain, the host. So a
redirect within the same host names the path alone.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Concatenate, Final, TypeAlias, TypeVar, cast
from urllib.parse import unquote, urlsplit

from . import Request, Response, WebSocket

try:
    from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
    from werkzeug.routing import Map, MapAdapter, RequestRedirect, Rule, WebsocketMismatch
except ImportError as error:  # pragma: no cover  # the tests have it
    raise ImportError('routing needs werkzeug: pip install "trio-closeevents[routing]"') from error

__all__ = ["Router"]

WebSocketHandler: TypeAlias = Callable[Concatenate[WebSocket, ...], Awaitable[object]]
HTTPHandler: TypeAlias = Callable[Concatenate[Request, ...], "Response | Awaitable[Response]"]
AnyWebSocketHandler = TypeVar("AnyWebSocketHandler", bound=WebSocketHandler)
AnyHTTPHandler = TypeVar("AnyHTTPHandler", bound=HTTPHandler)
AnyHandler = TypeVar("AnyHandler", bound=Callable[..., object])

ABSOLUTE: Final = re.compile(r"(?:https?|wss?)://([^/?#]*)(.*)", re.IGNORECASE)
BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
PERMANENT_REDIRECT: Final = 308  # with the method that it was (RFC 9110 §15.4.9)
SOME_NAME: Final = "server.invalid"  # where the rules do not ask for the host, this stands for it

logger = logging.getLogger("trio_closeevents")


class BadTarget(Exception):
    """The request target cannot be one; the text tells the client why."""


class Router:
    """Paths, and the handlers that they lead to. For `serve` and `open_server`, in place of a handler.

    ::

        router = Router()

        @router.route("/rooms/<int:room>")
        async def talk(ws: WebSocket, room: int) -> None: ...

        @router.http("/health")
        def health(request: Request) -> Response:
            return Response(200, body="fine\\n")

        await serve(router, "127.0.0.1", 8000)

    A path that leads nowhere is answered 404, a plain request to the path of a WebSocket 426, a method that no rule
    has 405, a path that cannot be one 400, and werkzeug's redirects are sent as 308. One path may lead to a handler
    for WebSockets and to one for plain HTTP; an upgrade that is asked for where there is only the latter is ignored,
    as RFC 9110 §7.8 has it.

    Args:
        rules: a `werkzeug.routing.Map` of your own, with its converters and options. Rules with `websocket=True` lead
            to handlers of connections, others to those of plain requests; an endpoint is either the handler, or a name
            that `endpoint` gives to one.
        server_name: the host whose subdomains the rules tell apart, with its port if that is not the scheme's own;
            other hosts are answered 404. Not with a map that has `host_matching`. Without either, the host does not
            count.
    """

    def __init__(self, rules: Map | None = None, *, server_name: str | None = None) -> None:
        if rules is not None and not isinstance(rules, Map):
            raise TypeError(f"rules must be a werkzeug.routing.Map, not {type(rules).__name__}: {rules!r}")
        if server_name is not None and not isinstance(server_name, str):
            raise TypeError(f"server_name must be a str, not {type(server_name).__name__}: {server_name!r}")
        self._map = Map() if rules is None else rules
        if server_name is not None and self._map.host_matching:
            raise ValueError("give either server_name, for subdomains, or a map with host_matching")
        self._server_name = None if server_name is None else without_default_port(server_name.lower())
        self._named: dict[str, Callable[..., object]] = {}

    def __repr__(self) -> str:
        return f"<Router {[str(rule) for rule in self._map.iter_rules()]}>"

    @property
    def rules(self) -> Map:
        """The rules, as werkzeug has them."""
        return self._map

    def route(self, path: str, **options: Any) -> Callable[[AnyWebSocketHandler], AnyWebSocketHandler]:
        """Lead *path* to the async function that is decorated: it gets the `WebSocket`, and the arguments by name.

        Args:
            path: a rule of werkzeug, such as `"/rooms/<int:room>"`.
            **options: of `werkzeug.routing.Rule`: `subdomain`, `host`, `defaults`, `strict_slashes`, `redirect_to`...
        """

        def decorate(handler: AnyWebSocketHandler) -> AnyWebSocketHandler:
            return self._add(path, handler, websocket=True, **options)

        return decorate

    def http(
        self, path: str, *, methods: Iterable[str] = ("GET",), **options: Any
    ) -> Callable[[AnyHTTPHandler], AnyHTTPHandler]:
        """Lead plain requests for *path* to the function that is decorated, async or not, which returns a `Response`.

        It gets the `Request`, and the arguments by name. With `GET` goes `HEAD`.

        Args:
            path: as for `route`.
            methods: which ones; others are answered 405.
            **options: as for `route`.
        """

        def decorate(handler: AnyHTTPHandler) -> AnyHTTPHandler:
            return self._add(path, handler, methods=list(methods), **options)

        return decorate

    def _add(self, path: str, handler: AnyHandler, **options: Any) -> AnyHandler:
        if not callable(handler):
            raise TypeError(f"the handler of {path!r} must be a function, not {type(handler).__name__}: {handler!r}")
        self._map.add(Rule(path, endpoint=handler, **options))
        return handler

    def endpoint(self, name: str) -> Callable[[AnyHandler], AnyHandler]:
        """Say what an endpoint that is a name stands for, in a map of your own."""

        def decorate(handler: AnyHandler) -> AnyHandler:
            self._named[name] = handler
            return handler

        return decorate

    def build(
        self, endpoint: Callable[..., object] | str, arguments: Mapping[str, Any] | None = None, *, base: str = ""
    ) -> str:
        """Return the path that leads to *endpoint*.

        Args:
            endpoint: the handler, or its name.
            arguments: those of the rule; others become the query.
            base: scheme and host, `"wss://example.com"`, to return a whole URL.

        Raises:
            werkzeug.routing.BuildError: no rule leads there with these arguments.
            ValueError: *base* has no scheme or host; or there is none, and the URL cannot do without.
        """
        split = urlsplit(base)
        if base and not (split.scheme and split.netloc):
            raise ValueError(f"base {base!r} must be a scheme and a host, such as 'wss://example.com'")
        adapter = self._map.bind(split.netloc or self._server_name or SOME_NAME, url_scheme=split.scheme or "ws")
        url: str = adapter.build(endpoint, arguments or {}, force_external=True)
        if base:
            return url
        path = without_host(url.replace("http:", "ws:", 1), adapter)
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"this rule is for another host: give a base, to get a whole URL such as {url!r}")
        return path

    async def find_handler(self, request: Request) -> Callable[[WebSocket], Awaitable[object]] | Response:
        """Return what *request* leads to, with its arguments, or what to answer."""
        try:
            endpoint, arguments, is_websocket = self._match(request)
        except BadTarget as error:
            return Response(400, body=f"{error}\n")
        except RequestRedirect as redirect:
            return Response(PERMANENT_REDIRECT, {"Location": redirect.new_url})
        except MethodNotAllowed as error:
            methods = ", ".join(sorted(error.valid_methods or ()))
            return Response(405, {"Allow": methods}, f"method {request.method} is not allowed here: use {methods}\n")
        except NotFound:
            return Response(404, body="nothing is here\n")
        except HTTPException as error:  # out of a converter, or a function that redirects
            return Response(error.code or 500, body=f"{error.name}\n")
        handler = self._handler_of(endpoint)
        if is_websocket:
            return cast("Callable[[WebSocket], Awaitable[object]]", partial(handler, **arguments))
        answer = handler(request, **arguments)
        return cast("Response", await answer if inspect.isawaitable(answer) else answer)

    def _match(self, request: Request) -> tuple[object, Mapping[str, Any], bool]:
        """Return endpoint and arguments, and whether they are a connection's."""
        rules, path = self._bind(request)
        is_websocket = "websocket" in request.headers.get("upgrade", "").lower()
        try:
            try:
                return *rules.match(path, request.method, websocket=is_websocket), is_websocket
            except WebsocketMismatch:
                return *rules.match(path, request.method, websocket=not is_websocket), not is_websocket
        except RequestRedirect as redirect:
            raise RequestRedirect(without_host(redirect.new_url, rules)) from redirect
        except ValueError as error:  # a converter found no value in what its pattern allows: a number of 5000 digits
            logger.debug("no value for a rule: %s", error)
            raise NotFound from error

    def _handler_of(self, endpoint: object) -> Callable[..., object]:
        handler = self._named.get(endpoint) if isinstance(endpoint, str) else endpoint
        if not callable(handler):
            raise LookupError(f"endpoint {endpoint!r} has no handler: say @router.endpoint({endpoint!r})")
        return handler

    def _bind(self, request: Request) -> tuple[MapAdapter, str]:
        """Return the rules for the host that *request* names, and its path, decoded."""
        host, target = request.headers.get("host", ""), request.target
        if absolute := ABSOLUTE.fullmatch(target):  # RFC 9112 §3.2.2: what stands here counts, not the header
            host, target = absolute[1], absolute[2]
            target = target if target.startswith("/") else f"/{target}"
        path, _, query = target.partition("?")
        if not path.startswith("/") or BAD_ESCAPE.search(path):
            raise BadTarget("the path is malformed")
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError as error:
            raise BadTarget("the path is not UTF-8") from error
        return self._bind_host(host.lower(), query), path

    def _bind_host(self, host: str, query: str) -> MapAdapter:
        name, subdomain = SOME_NAME, None
        if self._map.host_matching:
            name = without_default_port(host)
        elif self._server_name is not None:
            name = self._server_name
            before, found, behind = f".{without_default_port(host)}".rpartition(f".{name}")
            if not found or behind:
                raise NotFound
            subdomain = before.removeprefix(".")
        try:
            return self._map.bind(name, subdomain=subdomain, url_scheme="ws", query_args=query)
        except HTTPException as error:
            raise BadTarget("the host is malformed") from error


def without_default_port(host: str) -> str:
    return re.sub(r":(?:80|443)?\Z", "", host)


def without_host(url: str, rules: MapAdapter) -> str:
    """Return *url*, which the rules have made, without the scheme, and without the host if it is the same."""
    here = f"ws://{rules.get_host(None)}/"
    if not url.startswith(here):
        return url.removeprefix("ws:")
    path = url[len(here) - 1 :]
    return f"/.{path}" if path.startswith("//") else path  # else it would name a host
