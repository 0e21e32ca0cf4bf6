"""What is measured, with whom, and how fast we want to be: two tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["LIBRARIES", "OURS", "WORKS", "Bar", "Library", "Work", "choose"]

OURS: Final = "trio-closeevents"
WEBSOCKETS_TRIO: Final = "websockets.trio"
WEBSOCKETS: Final = "websockets"
TRIO_WEBSOCKET: Final = "trio-websocket"
AIOHTTP: Final = "aiohttp"
PICOWS: Final = "picows"
HYPERCORN: Final = "hypercorn"
FLOOR: Final = "trio stream"
CEILING: Final = "raw sockets"
IMPORTS: Final = "trio, wsproto"


@dataclass(frozen=True, slots=True)
class Library:
    """Who is measured.

    Attributes:
        module: the name of its module in `benchmarks.servers` and, if there, in `benchmarks.clients`.
        about: what one should know when reading its figures.
        floor: it echoes bytes and knows no WebSocket.
    """

    module: str
    about: str
    floor: bool = False


LIBRARIES: Final[Mapping[str, Library]] = {
    OURS: Library("trio_closeevents", "this library"),
    WEBSOCKETS_TRIO: Library("websockets_trio", "websockets on trio; its C extension masks"),
    WEBSOCKETS: Library("websockets_asyncio", "websockets on asyncio; its C extension masks"),
    TRIO_WEBSOCKET: Library("trio_websocket", "pure Python, wsproto"),
    AIOHTTP: Library("aiohttp", "asyncio, Cython"),
    PICOWS: Library("picows", "uvloop, Cython; a callback per frame"),
    HYPERCORN: Library("hypercorn", "ASGI on trio, wsproto"),
    FLOOR: Library("trio_stream", "the floor: receive_some and send_all of the same bytes", floor=True),
    CEILING: Library("raw_epoll", "the ceiling: epoll and raw sockets; as fast as the load client can be", floor=True),
}
PEERS: Final = (WEBSOCKETS_TRIO, WEBSOCKETS, TRIO_WEBSOCKET, AIOHTTP, PICOWS, HYPERCORN)
SERVERS: Final = (OURS, *PEERS, FLOOR)
CLIENTS: Final = (OURS, WEBSOCKETS_TRIO, WEBSOCKETS, TRIO_WEBSOCKET, AIOHTTP)


@dataclass(frozen=True, slots=True)
class Bar:
    """What our figure divided by a peer's should be: at least, or at most where less is better.

    Attributes:
        ratio: in pure Python.
        compiled: the same with the C extension; `None`: no other.
    """

    ratio: float
    compiled: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One row of the table.

    Attributes:
        role: which side of a connection is measured: "server", "client", or "import".
        libraries: in the order in which they are shown.
        job: the fields of `benchmarks.load.job.Job` that are not the default; for clients "size" and "pingpong".
        less: less is better.
        bars: by library.
        at_most: a bar for our own figure, in *unit*.
        plain: the same work without TLS: each ratio should be at least `TLS_BAR` of what it is there.
        each: measure so many times per round.
    """

    title: str
    unit: str
    role: str = "server"
    libraries: tuple[str, ...] = (*SERVERS, CEILING)
    job: Mapping[str, Any] = field(default_factory=dict[str, Any])
    less: bool = False
    bars: Mapping[str, Bar] = field(default_factory=dict[str, Bar])
    at_most: float | None = None
    plain: str | None = None
    each: int = 1


TLS_BAR: Final = 0.8
SIZES: Final = {"32": 32, "1k": 1024, "64k": 2**16, "1m": 2**20}
SIZE_NAMES: Final = {"32": "32 B", "1k": "1 KiB", "64k": "64 KiB", "1m": "1 MiB"}
CROWDS: Final = (1, 10, 50, 200, 500, 1000, 2000)
SHUTDOWNS: Final = (250, 500, 1000, 2000)
PER_SECOND: Final = "messages/s"

LARGE: Final = {WEBSOCKETS_TRIO: Bar(1.2, compiled=2), FLOOR: Bar(0, compiled=0.9)}
ECHO_BARS: Final[Mapping[str, Mapping[str, Bar]]] = {
    "32": {WEBSOCKETS_TRIO: Bar(25), TRIO_WEBSOCKET: Bar(30), PICOWS: Bar(1.5)},
    "1k": {WEBSOCKETS_TRIO: Bar(7), AIOHTTP: Bar(1)},
    "64k": LARGE,
    "1m": LARGE,
}
CLIENT_BARS: Final = {"32": 10, "1k": 5, "64k": 1.1, "1m": 1.1}


def table() -> dict[str, Work]:
    """Return every work by its name."""
    works: dict[str, Work] = {}
    for name, size in SIZES.items():
        works[f"echo-{name}"] = Work(
            title=f"pipelined echo, {SIZE_NAMES[name]}",
            unit=PER_SECOND,
            job={"kind": "pipelined", "size": size},
            bars=ECHO_BARS[name],
        )
    works["pingpong-32"] = Work(
        title="ping-pong, 32 B, one connection",
        unit=PER_SECOND,
        job={"kind": "pingpong"},
        bars={FLOOR: Bar(1.0), WEBSOCKETS_TRIO: Bar(1.8)},
    )
    works["crowd-200"] = Work(
        title="200 connections at once, 32 B ping-pong each",
        unit=PER_SECOND,
        job={"kind": "crowd", "connections": 200},
        bars={WEBSOCKETS_TRIO: Bar(1.8)},
    )
    works["broadcast-1000"] = Work(
        title="broadcast of one 1 KiB message to 1,000 connections",
        unit="broadcasts/s",
        libraries=SERVERS,
        job={"kind": "broadcast", "size": 1024, "connections": 1000},
        bars={WEBSOCKETS_TRIO: Bar(5)},
    )
    for number, how in ((1, "one after the other"), (16, "16 at once")):
        for spoken, name, more in (
            (False, "opening", ""),
            (True, "opening-echo", ", with one message echoed between"),
        ):
            works[f"{name}-{number}"] = Work(
                title=f"opening and closing connections, {how}{more}",
                unit="connections/s",
                job={"kind": "opening", "connections": number, "spoken": spoken},
                bars={WEBSOCKETS_TRIO: Bar(1.5)},
            )
    idle = {"kind": "memory", "connections": 1000}
    works["memory"] = Work(
        title="memory of an idle server connection",
        unit="bytes",
        libraries=SERVERS,
        job=idle,
        less=True,
        at_most=12 * 1024,
    )
    works["memory-spoken"] = Work(
        title="memory of a server connection that has echoed one message",
        unit="bytes",
        libraries=SERVERS,
        job={**idle, "spoken": True},
        less=True,
    )
    for number in SHUTDOWNS:
        works[f"shutdown-{number}"] = Work(
            title=f"server of {number:,} connections stopped, until the last peer has its 1001",
            unit="seconds",
            libraries=(OURS, *PEERS),
            job={"kind": "shutdown", "connections": number},
            less=True,
            at_most=0.3 if number == 1000 else None,
        )
    for name, plain in [(name, work) for name, work in works.items() if name.startswith(("echo", "pingpong"))]:
        works[f"tls-{name}"] = Work(
            title=f"{plain.title}, over TLS",
            unit=PER_SECOND,
            libraries=SERVERS,
            job={**plain.job, "tls": True},
            plain=name,
        )
    works["tls-opening-1"] = Work(
        title="opening and closing connections over TLS, one after the other",
        unit="connections/s",
        libraries=SERVERS,
        job={"kind": "opening", "tls": True},
    )
    works["tls-opening-echo-1"] = Work(
        title="opening and closing connections over TLS, one after the other, with one message echoed between",
        unit="connections/s",
        libraries=SERVERS,
        job={"kind": "opening", "tls": True, "spoken": True},
    )
    works["tls-memory"] = Work(
        title="memory of an idle server connection over TLS",
        unit="bytes",
        libraries=SERVERS,
        job={**idle, "tls": True},
        less=True,
    )
    for name, size in SIZES.items():
        works[f"client-echo-{name}"] = Work(
            title=f"the client's side: pipelined echo, {SIZE_NAMES[name]}",
            unit=PER_SECOND,
            role="client",
            libraries=CLIENTS,
            job={"size": size, "pingpong": False},
            bars={WEBSOCKETS_TRIO: Bar(CLIENT_BARS[name])},
        )
    works["client-pingpong-32"] = Work(
        title="the client's side: ping-pong, 32 B",
        unit=PER_SECOND,
        role="client",
        libraries=CLIENTS,
        job={"size": 32, "pingpong": True},
        bars={WEBSOCKETS_TRIO: Bar(1.5)},
    )
    works["import"] = Work(
        title="import trio_closeevents, against import trio, wsproto",
        unit="seconds",
        role="import",
        libraries=(OURS, IMPORTS),
        less=True,
        bars={IMPORTS: Bar(1.15)},
        each=5,
    )
    for number in CROWDS:
        works[f"scaling-{number}"] = Work(
            title=f"{number:,} connections at once, 32 B ping-pong each",
            unit=PER_SECOND,
            job={"kind": "crowd", "connections": number},
        )
    return works


WORKS: Final[Mapping[str, Work]] = table()


def choose(names: list[str]) -> list[str]:
    """Return the works that *names* mean: a whole name, or the beginning of several; none means all.

    Raises:
        ValueError: a name means no work.
    """
    if not names:
        return list(WORKS)
    chosen: list[str] = []
    for name in names:
        found = [name] if name in WORKS else [work for work in WORKS if work.startswith(name)]
        if not found:
            raise ValueError(f"no work begins with {name!r}; there are {', '.join(WORKS)}")
        chosen += [work for work in found if work not in chosen]
    return chosen
