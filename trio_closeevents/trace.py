"""`Trace`: records what travels on connections, and draws it as sequence diagrams.

Theory. A recording keeps its first rows and its latest ones; what falls out between them is counted. So does a run of
messages in one direction, of which the first and the latest are shown. Thus memory has a bound, whatever a peer sends
and however long a connection lives. Rows are made into words when somebody wants to see them, and the drawer escapes
what no terminal should get.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

import trio

from trio_closeevents import CloseCause, CloseEvent, CloseFrame, HandshakeError, Observer, Response, WebSocket, describe

from ._measures import RoundTrips, size_of
from .diagram import Arrow, Diagram, Remark, Row, draw_svg, visible

__all__ = ["Trace"]

RUN: Final = 4  # messages in one direction, without anything between them, that are shown before they are counted

REASONS: Final[Mapping[CloseCause, str]] = {
    CloseCause.EXIT: "the block returned",
    CloseCause.ERROR: "an exception left the block",
    CloseCause.CANCELLED: "the block was cancelled",
    CloseCause.CLOSED: "the program closed it",
    CloseCause.ABORTED: "the program aborted it",
    CloseCause.PROTOCOL_ERROR: "the peer broke the protocol",
    CloseCause.INVALID_PAYLOAD: "the peer sent what is no text, or no compressed data",
    CloseCause.MESSAGE_TOO_BIG: "the peer sent too large a message",
    CloseCause.KEEPALIVE_TIMEOUT: "the peer was silent",
    CloseCause.INTERNAL_ERROR: "a mistake in the library",
    CloseCause.EOF: "the peer hung up",
    CloseCause.RESET: "the transport broke",
}


class Trace(Observer):
    """Records connections, and draws them: `connect(url, observer=trace)`, and `print(trace)` at any time.

    It stands on this side, which is drawn on the left. Each connection has a diagram of its own, with the opening
    handshake, messages with their sizes and beginnings, Pings, Pongs with their round trip, both Close frames and who
    closed first and why; times are seconds since the opening. A connection that never opened has one too.

    Handed to a server, or to `stay_connected`, it sees many connections. A new one takes the place of the oldest that
    has ended; when all are open, a new one is only counted. Memory is bounded by the three limits together.

    A trace shows the beginnings of what was sent, and request targets with their queries: it is for eyes that may see
    them.

    Args:
        max_rows: about how many rows of a connection are kept, half of them the first and half the latest. At least 8.
        max_connections: how many connections are kept. At least 1.
        payload: how many characters or bytes of each message are shown; 0 shows none.

    Raises:
        TypeError, ValueError: an argument is no such number.
    """

    def __init__(self, *, max_rows: int = 100, max_connections: int = 16, payload: int = 32) -> None:
        self._max_rows = at_least(8, "max_rows", max_rows)
        self._max_connections = at_least(1, "max_connections", max_connections)
        self._payload = at_least(0, "payload", payload)
        self._recordings: list[Recording] = []
        self._by_connection: WeakKeyDictionary[WebSocket, Recording] = WeakKeyDictionary()
        self._left_out = 0

    # -- what it shows ---------------------------------------------------------------------------------------------

    @property
    def diagrams(self) -> list[Diagram]:
        """The connections as they are now, in the order in which they were opened."""
        return [each.diagram() for each in self._recordings]

    @property
    def left_out(self) -> int:
        """How many connections it was told of that are not among `diagrams`, or not any more."""
        return self._left_out

    def of(self, websocket: WebSocket) -> Diagram:
        """Return the diagram of one connection.

        Raises:
            LookupError: it is not here, or not any more.
        """
        recording = self._by_connection.get(websocket)
        if recording is None:
            raise LookupError(f"{websocket!r} is not in this trace: hand it over as observer=..., or keep more of them")
        return recording.diagram()

    def __str__(self) -> str:
        diagrams = self.diagrams
        if len(diagrams) == 1 and not self._left_out:
            return str(diagrams[0])
        parts = [f"{visible(each.title)}\n\n{each}" for each in diagrams] or ["no connection yet"]
        if self._left_out:
            parts.append(f"… {counted(self._left_out, 'more connection', 'more connections')} …")
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return f"<Trace of {counted(len(self._recordings) + self._left_out, 'connection', 'connections')}>"

    def svg(self, *, title: str = "") -> str:
        """Draw it as one SVG document that needs nothing else, one connection below the other.

        Args:
            title: of the document; by default that of the first connection.
        """
        return draw_svg(*self.diagrams, title=title)

    # -- what it is told -------------------------------------------------------------------------------------------

    def open(self, websocket: WebSocket) -> None:
        """Begin a diagram, with the opening handshake."""
        title = f"{side(websocket.is_client)} {str(websocket.id)[:8]}, {websocket.url}"
        recording = self._new(title, is_client=websocket.is_client, begin=trio.current_time())
        if recording is not None:
            self._by_connection[websocket] = recording
            request, is_client = websocket.request, websocket.is_client
            recording.add(Frame(f"{request.method} {request.target} HTTP/1.1", is_client, 0))
            agreed = f", {websocket.subprotocol}" if websocket.subprotocol is not None else ""
            recording.add(Frame(status_line(websocket.response) + agreed, not is_client, 0))

    def unopened(self, error: HandshakeError) -> None:
        """Draw what there was of it."""
        is_client = error.url is not None
        recording = self._new(f"{side(is_client)}, {error.url or 'never opened'}", is_client=is_client)
        if recording is not None:
            if error.request is not None:
                recording.add(Frame(f"{error.request.method} {error.request.target} HTTP/1.1", is_client))
            if error.response is not None:
                recording.add(Frame(status_line(error.response), not is_client))
            recording.end = [Remark(str(error)), Remark(f"never opened: {error.close_event}")]

    def message(self, websocket: WebSocket, data: str | bytes, *, sent: bool, last: bool) -> None:
        """Add a message, or a piece of one."""
        recording = self._by_connection.get(websocket)
        if recording is not None:
            whole = last and not recording.in_pieces[sent]
            recording.in_pieces[sent] = not last
            start = data[: self._payload]
            is_short = len(start) < len(data)
            recording.add(Message(recording.now, sent, start, size_of(data), is_short=is_short, whole=whole, last=last))

    def ping(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """Add a Ping."""
        recording = self._by_connection.get(websocket)
        if recording is not None:
            if sent:
                recording.round_trips.begin(payload)
            recording.add(Frame(self._control("Ping", payload), sent, recording.now))

    def pong(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """Add a Pong, with its round trip if it answers a Ping of ours."""
        recording = self._by_connection.get(websocket)
        if recording is not None:
            latency = None if sent else recording.round_trips.end(payload)
            after = "" if latency is None else f", {1000 * latency:.1f} ms"
            recording.add(Frame(self._control("Pong", payload) + after, sent, recording.now))

    def close_frame(self, websocket: WebSocket, frame: CloseFrame, *, sent: bool) -> None:
        """Add a Close frame."""
        recording = self._by_connection.get(websocket)
        if recording is not None:
            meaning = "without a code" if frame.code is None else f"{frame.code} {describe(frame.code)}"
            reason = f" {frame.reason!r}" if frame.reason else ""
            recording.add(Frame(f"Close {meaning}{reason}", sent, recording.now))

    def close(self, websocket: WebSocket, event: CloseEvent) -> None:
        """Add who closed first, and why."""
        recording = self._by_connection.get(websocket)
        if recording is not None:
            first = {"local": "we closed first", "remote": f"{recording.peer} closed first"}
            told = first.get(str(event.initiated_by), "nobody sent a Close")
            why = f": {REASONS[event.cause]}" if event.cause is not None and event.cause in REASONS else ""
            recording.end = [Remark(told + why, recording.now), Remark(str(event))]

    def _control(self, kind: str, payload: bytes) -> str:
        if not payload or not self._payload:
            return kind
        return f"{kind} {payload[: self._payload]!r}{'…' * (len(payload) > self._payload)}"

    def _new(self, title: str, *, is_client: bool, begin: float | None = None) -> Recording | None:
        """Return a new recording; `None` if there is no room for it."""
        if len(self._recordings) >= self._max_connections:
            self._left_out += 1
            ended = next((each for each in self._recordings if each.end), None)
            if ended is None:
                return None
            self._recordings.remove(ended)
            for websocket in [each for each, found in self._by_connection.items() if found is ended]:
                del self._by_connection[websocket]
        recording = Recording(self._max_rows, title, is_client, begin)
        self._recordings.append(recording)
        return recording


@dataclass(frozen=True, slots=True)
class Frame:
    """A row that is never folded into a run: a control frame, a line of the opening handshake."""

    what: str
    sent: bool
    at: float | None = None

    def rows(self) -> Iterator[Row]:
        yield Arrow(self.what, self.sent, self.at)


@dataclass(frozen=True, slots=True)
class Message:
    """A message, or a piece of one, of which the beginning is kept."""

    at: float
    sent: bool
    start: str | bytes
    size: int
    _: KW_ONLY
    is_short: bool  # there is more of it than the beginning
    whole: bool
    last: bool

    def rows(self) -> Iterator[Row]:
        kind = "Text" if isinstance(self.start, str) else "Binary"
        if not self.whole:
            kind += ", last piece" if self.last else ", piece"
        shown = f" {self.start!r}{'…' * self.is_short}" if self.start else ""
        yield Arrow(f"{kind} {in_bytes(self.size)}{shown}", self.sent, self.at)


class Fold:
    """Rows that are only counted."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._count = {True: 0, False: 0}  # by whether this side has sent them
        self._size = {True: 0, False: 0}
        self._others = 0
        self._in_pieces = False

    def add(self, item: Item) -> None:
        if isinstance(item, Run):
            self.add(item.fold)
            self.add(item.latest)
            return
        if self._at is None:
            self._at = item.at
        if isinstance(item, Message):
            self._count[item.sent] += 1
            self._size[item.sent] += item.size
            self._in_pieces |= not item.whole
        elif isinstance(item, Frame):
            self._others += 1
        else:
            for way in (True, False):
                self._count[way] += item._count[way]
                self._size[way] += item._size[way]
            self._others += item._others
            self._in_pieces |= item._in_pieces

    @property
    def at(self) -> float | None:
        return self._at

    def rows(self) -> Iterator[Row]:
        names = ("more piece", "more pieces") if self._in_pieces else ("more message", "more messages")
        told = [
            f"{counted(self._count[way], *names)} {arrow}, {in_bytes(self._size[way])}"
            for way, arrow in ((True, "→"), (False, "←"))
            if self._count[way]
        ]
        if self._others:
            told.append(counted(self._others, "other frame", "other frames"))
        if told:
            yield Remark(f"… {'; '.join(told)} …", self._at)


class Run:
    """The rest of a run of messages in one direction: those that are only counted, and the latest."""

    def __init__(self, first: Message, latest: Message) -> None:
        self.fold = Fold()
        self.fold.add(first)
        self.latest = latest

    def go_on(self, message: Message) -> None:
        self.fold.add(self.latest)
        self.latest = message

    def rows(self) -> Iterator[Row]:
        yield from self.fold.rows()
        yield from self.latest.rows()


Item: TypeAlias = Frame | Message | Fold | Run


class Recording:
    """What is kept of one connection.

    Attributes:
        end: what there is to say of the end; empty before it.
        in_pieces: by whether this side sends it: a message is under way of which a piece was told.
    """

    def __init__(self, max_rows: int, title: str, is_client: bool, begin: float | None) -> None:
        self._first: list[Item] = []
        self._left_out = Fold()
        self._latest: deque[Item] = deque()
        self._room = (max_rows - max_rows // 2, max_rows // 2)
        self._title = title
        self._names = f"we, the {side(is_client)}", f"the {side(not is_client)}"
        self._begin = begin
        self._run = 0  # messages in the direction of the latest row, one after the other
        self._run_sent = False
        self.round_trips = RoundTrips()
        self.in_pieces = {True: False, False: False}
        self.end: list[Row] = []

    @property
    def now(self) -> float:
        """Seconds since the opening."""
        return trio.current_time() - (self._begin or 0)

    @property
    def peer(self) -> str:
        return self._names[1]

    def add(self, item: Frame | Message) -> None:
        """Add a row, at the end."""
        if not isinstance(item, Message):
            self._run = 0
        else:
            self._run = self._run + 1 if item.sent is self._run_sent else 1
            self._run_sent = item.sent
            if self._run > RUN + 1:
                self._go_on(item)
                return
        self._append(item)

    def _append(self, item: Item) -> None:
        if len(self._first) < self._room[0]:
            self._first.append(item)
            return
        self._latest.append(item)
        if len(self._latest) > self._room[1]:
            self._left_out.add(self._latest.popleft())

    def _go_on(self, message: Message) -> None:
        rows = self._latest or self._first
        before = rows[-1]
        if isinstance(before, Run):
            before.go_on(message)
        else:
            assert isinstance(before, Message)
            rows[-1] = Run(before, message)

    def diagram(self) -> Diagram:
        rows = [row for item in (*self._first, self._left_out, *self._latest) for row in item.rows()]
        return Diagram((*rows, *(self.end or [Remark("still open")])), *self._names, self._title)


def side(is_client: bool) -> str:
    return "client" if is_client else "server"


def status_line(response: Response) -> str:
    return f"{response.status} {response.phrase}".rstrip()


def counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def in_bytes(size: int) -> str:
    """Return *size* in words, rounded."""
    if size < 1000:
        return f"{size} B"
    number, units = size / 1000, iter(("kB", "MB", "GB"))
    while number >= 999.95:
        number /= 1000
        next(units)
    return f"{number:.1f} {next(units)}"


def at_least(least: int, name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value
