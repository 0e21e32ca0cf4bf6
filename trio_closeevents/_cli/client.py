"""What `connect` and `bench` have in common: the options of a client."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar, cast

import click

from trio_closeevents import Observer, WebSocket, connect

__all__ = ["Connecting", "client_options", "make_connecting"]

Connecting = Callable[[], AbstractAsyncContextManager[WebSocket]]
Command = TypeVar("Command", bound=Callable[..., Any])

CAREFUL: Final = "warning: --insecure takes every certificate, and nobody knows who answers"

OPTIONS: Final = (
    click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request."),
    click.option("-s", "--subprotocol", "subprotocols", multiple=True, metavar="NAME", help="Offer a subprotocol."),
    click.option("--origin", metavar="ORIGIN", help="The Origin header."),
    click.option("--user-agent", metavar="TEXT", help="The User-Agent header."),
    click.option("--basic-auth", metavar="USER:PASSWORD", help="HTTP basic authentication."),
    click.option("--insecure", is_flag=True, help="Take every certificate."),
    click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Trust these authorities (PEM)."),
    click.option("--proxy", metavar="URL", help="An http:, https: or socks5h: proxy; else the environment tells."),
    click.option("--no-proxy", is_flag=True, help="No proxy, whatever the environment tells."),
    click.option("--compress", is_flag=True, help="Offer permessage-deflate."),
    click.option("--timeout", type=float, default=10, show_default=True, metavar="SECONDS", help="For the opening."),
    click.option(
        "--ping-interval", type=float, default=20, show_default=True, metavar="SECONDS", help="0 sends no Pings."
    ),
    click.option(
        "--max-size", type=int, default=2**20, show_default=True, metavar="BYTES", help="Of a message; 0 is no limit."
    ),
)


def client_options(command: Command) -> Command:
    """Give *command* the options of a client."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def make_connecting(url: str, options: Mapping[str, Any], observer: Observer | None = None) -> Connecting:
    """Return what makes connections to *url* with *options*, which are those of `OPTIONS`, watched by *observer*.

    Raises:
        click.UsageError: something in them cannot work. Nothing was sent.
    """
    arguments = arguments_of(url, options)
    arguments["observer"] = observer
    try:
        connect(url, **arguments)  # which looks at all of it
    except (TypeError, ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from error
    return lambda: connect(url, **arguments)


def arguments_of(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "headers": [split(header, ":", "--header", "'Name: value'") for header in options["headers"]],
        "subprotocols": options["subprotocols"],
        "origin": options["origin"],
        "compression": "deflate" if options["compress"] else None,
        "open_timeout": options["timeout"],
        "ping_interval": options["ping_interval"] or None,
        "max_message_size": options["max_size"] or None,
    }
    if options["user_agent"] is not None:
        arguments["user_agent"] = options["user_agent"]
    if options["basic_auth"] is not None:
        arguments["auth"] = split(options["basic_auth"], ":", "--basic-auth", "user:password")
    if options["proxy"] is not None and options["no_proxy"]:
        raise click.UsageError("give either --proxy or --no-proxy")
    if options["proxy"] is not None or options["no_proxy"]:
        arguments["proxy"] = options["proxy"]
    if (context := ssl_context(url, options)) is not None:
        arguments["ssl_context"] = context
    return arguments


def split(text: str, at: str, option: str, form: str) -> tuple[str, str]:
    left, found, right = text.partition(at)
    if not found:
        raise click.UsageError(f"{option} has the form {form}")  # not the value: it may be a password
    return left, right.strip() if option == "--header" else right


def ssl_context(url: str, options: Mapping[str, Any]) -> ssl.SSLContext | None:
    given = [name for name in ("insecure", "ca_file") if options[name]]
    if not given:
        return None
    if len(given) == 2:
        raise click.UsageError("give either --insecure or --ca-file")
    name = given[0].replace("_", "-")
    if not url.lower().startswith("wss:"):
        raise click.UsageError(f"--{name} goes with wss:, and the URL is {url!r}")
    if options["ca_file"]:
        try:
            return ssl.create_default_context(cafile=cast("str", options["ca_file"]))
        except ssl.SSLError as error:
            raise click.UsageError(f"--ca-file has no certificates: {error}") from error
    click.echo(CAREFUL, err=True)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
