"""A stream that a proxy has opened for a client: who that is, by the PROXY protocol."""

from __future__ import annotations

import trio

from ._addresses import Address, Addresses
from ._events import CloseCause
from ._opening import Unopened
from ._protocol.proxy_protocol import BadProxyHeader, ProxyHeader
from ._transport import LOST, os_error, stream_names

__all__ = ["read_proxy_header"]


async def read_proxy_header(stream: trio.abc.Stream, proxies: Addresses) -> Address | None:
    """Return the client's address that the header says, `None` if it says none; read nothing behind it.

    Raises:
        Unopened: no proper header came, or not from one of *proxies*.
    """
    _, proxy = stream_names(stream)
    if proxy not in proxies:
        raise Unopened(f"{proxy!r} is not among the proxies that are believed", CloseCause.REJECTED)
    header = ProxyHeader()
    try:
        while header.wanted:
            data = await stream.receive_some(header.wanted)
            if not data:
                raise Unopened("the proxy hung up before its header was whole", CloseCause.EOF)
            header.receive_data(bytes(data))
    except BadProxyHeader as error:
        raise Unopened(f"no PROXY header came from {proxy!r}: {error}", CloseCause.MALFORMED) from error
    except LOST as error:
        cause = os_error(error)
        raise Unopened(f"the connection was lost: {cause}", CloseCause.RESET) from cause
    return header.address
