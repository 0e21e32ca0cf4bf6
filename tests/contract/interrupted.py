"""Programs that are interrupted at random moments.

By hand: `python -X faulthandler -W error -m contract.interrupted VARIANT TRIES [SEED]`.

Theory. This process imports everything once, stays single-threaded and forks a child for each try. The child runs one
program under `trio.run` and ends as any Python program does. Its peers are raw sockets in the loop of this process, so
that SIGINT, which goes to the child alone, never hits them. The moments are drawn over the program's life, which is
measured first without a signal; half of the tries get a second signal soon after the first.

What is asked of each try: it ends in time, by KeyboardInterrupt, and says nothing else on stderr; `-W error` makes
it say what was left behind. The last line of stdout is a `Summary` as JSON.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import json
import math
import os
import random
import re
import selectors
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from trio_closeevents import WebSocket, connect, open_server, serve
from trio_closeevents.testing import CLOSE, TEXT, ScriptedPeer, frame, take_frame

__all__ = ["VARIANTS", "Summary", "complaints_about", "main"]

HOST: Final = "127.0.0.1"
CANCEL_TIMEOUT: Final = 0.3  # seconds
FOREVER: Final = 30.0  # seconds: every other limit of the programs, which no try may use up
TOLERANCE: Final = 2.0  # seconds more than the contract's limits that a program may take: the machine is busy
PATIENCE: Final = 10.0  # seconds after which a child is ended that does not end by itself
AT_ONCE: Final = 3  # tries: they mostly wait
SECOND_WITHIN: Final = 0.03  # seconds after the first signal
SETTLED: Final = 0.02  # seconds after which the program has noticed what its peers did
IN_DOUBT: Final = 0.005  # seconds: of what happens so close together nobody knows the order
BIG: Final = b"x" * 2**23  # more than the buffers of a socket take
REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

Program: TypeAlias = Callable[[int], Awaitable[None]]

# -- the programs -----------------------------------------------------------------------------------------------------

LIMITS: Final[dict[str, Any]] = {
    "open_timeout": FOREVER,
    "close_timeout": FOREVER,
    "cancel_timeout": CANCEL_TIMEOUT,
}

said_to = 1  # the file descriptor of the pipe to the process that watches


def say(word: str, number: float | None = None) -> None:
    """Tell the process that watches where the program is; with the time, if there is no other number."""
    os.write(said_to, f"{word} {time.monotonic() if number is None else number}\n".encode())


async def receive(port: int) -> None:
    async with connect(f"ws://{HOST}:{port}/", **LIMITS) as ws:
        say("open")
        async for _ in ws:
            pass


async def leave(port: int) -> None:
    async with connect(f"ws://{HOST}:{port}/", **LIMITS):
        say("open")


async def send(port: int) -> None:
    async with connect(f"ws://{HOST}:{port}/", **LIMITS) as ws:
        say("open")
        await ws.send(BIG)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def run_server(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, echo, HOST, 0, **LIMITS))
        say("port", server.port)
        say("open")
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def sleep(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def close_server(port: int) -> None:
    async with open_server(sleep, HOST, 0, **LIMITS) as server:
        say("port", server.port)
        say("open")
        await trio.sleep(0.05)
        await server.aclose(grace=0.1)


async def leave_server(port: int) -> None:
    async with open_server(echo, HOST, 0, **LIMITS) as server:
        say("port", server.port)
        say("open")
        await trio.sleep(0.1)


class Parts:
    """Fragments of a message, with no asynchronous generator for the signal to leave behind."""

    def __init__(self) -> None:
        self._left = 5

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        await trio.lowlevel.checkpoint()
        self._left -= 1
        if self._left < 0:
            raise StopAsyncIteration
        return "part"


async def be_both(port: int, *, secured: bool) -> None:
    """Both ends in one program, so that both are interrupted."""
    server_context, client_context = contexts() if secured else (None, None)
    options: dict[str, Any] = LIMITS | {"compression": "deflate"}
    async with open_server(echo, HOST, 0, ssl_context=server_context, **options) as server:
        say("open")
        for _ in range(4):
            url = f"{'wss' if secured else 'ws'}://{HOST}:{server.port}/"
            async with connect(url, ssl_context=client_context, **options) as ws:
                await ws.send(Parts())
                async with ws.receive_stream() as pieces:
                    async for _ in pieces:
                        pass
                await ws.ping()
                await ws.send(BIG[:200_000])
                await ws.receive()
                await ws.aclose(4000, "bye")


made_contexts: list[Any] = []


def contexts() -> Any:
    """Return the contexts of a TLS server and its client; made once, before the first fork."""
    if not made_contexts:
        import ssl

        import trustme
        from tls import client_context, server_context

        authority = trustme.CA()
        version = ssl.TLSVersion.TLSv1_3
        made_contexts.append(server_context(authority.issue_cert(HOST), version))
        made_contexts.append(client_context(authority, version))
    return made_contexts


# -- the loop of the watching process, and the peers in it ------------------------------------------------------------


class Loop:
    """Readable files and timers, with callbacks: no thread, no trio, nothing that a fork could break."""

    def __init__(self) -> None:
        # Not epoll, which the children would share.
        self._selector = selectors.PollSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._open: set[socket.socket | int] = set()

    def watch(self, file: socket.socket | int, callback: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, callback)
        self._open.add(file)

    def unwatch(self, file: socket.socket | int) -> None:
        """Forget *file*, watched or not."""
        if file in [key.fileobj for key in self._selector.get_map().values()]:
            self._selector.unregister(file)

    def keep(self, file: socket.socket | int) -> None:
        """Take care of *file* before it is watched."""
        self._open.add(file)

    def close(self, file: socket.socket | int) -> None:
        """Close *file*, watched or not; again is fine."""
        if file in self._open:
            self.unwatch(file)
            self._open.remove(file)
            os.close(file) if isinstance(file, int) else file.close()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        if seconds != math.inf:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), callback))

    def turn(self) -> None:
        """Wait for something and see to it."""
        wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for key, _ in self._selector.select(wait):
            key.data()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def forget(self) -> None:
        """Close everything, in a child: it must not keep what belongs to its parent."""
        for file in list(self._open):
            self.close(file)
        self._timers.clear()
        self._selector.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a peer behaves; `math.inf` is never.

    Attributes:
        hesitates: seconds from the first half of its opening handshake to the second.
        reads_after: seconds from then until it begins to read.
        greets: messages that it sends when the connection is open.
        closes_after: seconds from then until it sends a Close of its own.
        answers_after: seconds from a Close until its answer.
    """

    hesitates: float = 0
    reads_after: float = 0
    greets: int = 0
    closes_after: float = math.inf
    answers_after: float = 0


class Peer:
    """The other end of a connection of the program, by hand.

    Attributes:
        codes: of the Close frames that it received.
        opened_at: when its connection was open.
        closed_at: when it sent a Close of its own.
    """

    def __init__(self, loop: Loop, sock: socket.socket, manner: Manner, *, client: bool) -> None:
        sock.setblocking(False)
        self.codes: list[int | None] = []
        self.opened_at = self.closed_at = math.inf
        self._loop = loop
        self._socket = sock
        self._manner = manner
        self._client = client
        self._buffer = bytearray()
        self._is_open = False
        loop.keep(sock)
        if client:
            self._open(REQUEST)
        else:
            loop.watch(sock, self._read)

    def _open(self, mine: bytes) -> None:
        self._send(mine[:50])
        self._loop.call_later(self._manner.hesitates, partial(self._finish_opening, mine[50:]))

    def _finish_opening(self, rest: bytes) -> None:
        self._send(rest)
        if not self._client:
            self._is_open = True
            self._greet()
        if self._client or self._manner.reads_after:
            self._loop.call_later(self._manner.reads_after, self._begin_to_read)

    def _begin_to_read(self) -> None:
        if self._socket.fileno() != -1:
            self._loop.watch(self._socket, self._read)

    def _greet(self) -> None:
        self.opened_at = time.monotonic()
        for _ in range(self._manner.greets):
            self._send(frame(TEXT, b"hello", masked=self._client))
        self._loop.call_later(self._manner.closes_after, self._close)

    def _close(self) -> None:
        self.closed_at = time.monotonic()
        self._send(frame(CLOSE, b"\x03\xe8", masked=self._client))

    def _answer(self, payload: bytes) -> None:
        if self.closed_at == math.inf:
            self._send(frame(CLOSE, payload, masked=self._client))
        if not self._client and self._socket.fileno() != -1:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:  # the program is gone
            pass

    def _read(self) -> None:
        try:
            data = self._socket.recv(2**18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hang_up()
        self._buffer += data
        if not self._is_open and b"\r\n\r\n" in self._buffer:
            head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            self._buffer[:] = rest
            if self._client:
                self._is_open = True
                self._greet()
            else:
                if self._manner.reads_after:
                    self._loop.unwatch(self._socket)
                self._open(ScriptedPeer.upgrade(head + b"\r\n\r\n"))
        while self._is_open and (received := take_frame(self._buffer)) is not None:
            if received.opcode == CLOSE:
                self.codes.append(received.code)
                self._loop.call_later(self._manner.answers_after, partial(self._answer, received.payload))

    def hang_up(self) -> None:
        self._loop.close(self._socket)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A program and its peers.

    Attributes:
        callers: peers that connect to the program; with 0 it connects to one.
        measured: how the peers behave while the program's life is measured, if not as always.
    """

    program: Program
    manner: Manner = field(default_factory=Manner)
    measured: Manner | None = None
    callers: int = 0


VARIANTS: Final = {
    "receiving": Variant(program=receive, manner=Manner(greets=20, closes_after=0.3)),
    "closing": Variant(program=leave, manner=Manner(answers_after=math.inf), measured=Manner(answers_after=0.1)),
    "sending": Variant(program=send, manner=Manner(reads_after=0.05)),
    "stuck": Variant(program=send, manner=Manner(reads_after=math.inf), measured=Manner(reads_after=0.1)),
    "connecting": Variant(program=leave, manner=Manner(hesitates=0.05)),
    "serving": Variant(program=run_server, manner=Manner(greets=20), callers=4),
    "silent": Variant(program=run_server, manner=Manner(answers_after=math.inf), callers=4),
    "grace": Variant(program=close_server, callers=4),
    "accepting": Variant(program=leave_server, manner=Manner(hesitates=0.07), callers=4),
    "both": Variant(program=partial(be_both, secured=False)),
    "secured": Variant(program=partial(be_both, secured=True)),
}

# -- one try ----------------------------------------------------------------------------------------------------------


class Try:
    """One child, interrupted after *delay* seconds, and again *second* seconds later; `math.inf`: not at all.

    Attributes:
        over: the child has ended, and was reaped.
    """

    def __init__(self, loop: Loop, variant: Variant, manner: Manner, delay: float, second: float) -> None:
        self.over = False
        self.signals: list[float] = []
        self.status = 0
        self.stderr = b""
        self.marks: dict[str, float] = {}
        self.peers: list[Peer] = []
        self.ended = math.inf
        self.hangs = False
        self._loop = loop
        self._variant = variant
        self._manner = manner
        self._delay = delay
        self._second = second
        self._unread = b""
        self._pid = 0
        self._listener: socket.socket | None = None

    def start(self) -> Callable[[], None] | None:
        """Fork; return the program in the child, `None` in the parent."""
        port = 0
        if not self._variant.callers:
            self._listener = socket.create_server((HOST, 0))
            port = self._listener.getsockname()[1]
            self._loop.watch(self._listener, self._accept)
        said, said_to_us = os.pipe()
        stderr, stderr_to_us = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            self._loop.forget()
            for inherited in (said, stderr):
                os.close(inherited)
            os.dup2(stderr_to_us, 2)
            os.close(stderr_to_us)
            return partial(run_program, self._variant.program, port, said_to_us)
        for theirs in (said_to_us, stderr_to_us):
            os.close(theirs)
        self._loop.watch(said, partial(self._listen, said))
        self._loop.watch(stderr, partial(self._read_stderr, stderr))
        return None

    def _accept(self) -> None:
        assert self._listener is not None
        self.peers.append(Peer(self._loop, self._listener.accept()[0], self._manner, client=False))

    def _listen(self, said: int) -> None:
        data = os.read(said, 2**16)
        if not data:
            self._loop.close(said)
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, number = line.decode().split()
            self.marks[word] = float(number)
            if word == "begin":
                self._loop.call_later(self._delay, self._interrupt)
                self._loop.call_later(self._delay + self._second, self._interrupt)
                self._loop.call_later(PATIENCE, self._give_up)
            elif word == "port":
                for _ in range(self._variant.callers):
                    self._call(int(float(number)))

    def _call(self, port: int) -> None:
        try:
            sock = socket.create_connection((HOST, port), 1)
        except OSError:  # it was interrupted already
            return
        self.peers.append(Peer(self._loop, sock, self._manner, client=True))

    def _interrupt(self) -> None:
        if not self.over:
            self.signals.append(time.monotonic())
            os.kill(self._pid, signal.SIGINT)

    def _give_up(self) -> None:
        if not self.over:
            self.hangs = True
            os.kill(self._pid, signal.SIGABRT)  # so that faulthandler, if it is on, tells where it hangs

    def _read_stderr(self, stderr: int) -> None:
        data = os.read(stderr, 2**16)
        self.stderr += data
        if data:
            return
        self._loop.close(stderr)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self.ended = time.monotonic()
        self.over = True
        if self._listener is not None:
            self._loop.close(self._listener)
        for peer in self.peers:
            # What the child still wrote may be unread.
            self._loop.call_later(0.05, peer.hang_up)

    # -- what came of it -----------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """How long the program lived on after the last signal; as a process, if that struck on its way out."""
        return max(0.0, self.marks.get("over", self.ended) - self.signals[-1]) if self.signals else 0.0

    @property
    def is_unheld(self) -> bool:
        """The signal struck where Python lets nobody hold on to anything; see `GAP`."""
        return bool(self.signals and GAP.search(self.stderr.decode(errors="replace")))

    def complaints(self) -> Iterator[str]:
        limit = TOLERANCE + (CANCEL_TIMEOUT if len(self.signals) == 1 else 0)
        if self.hangs or (self.signals and self.seconds > limit):
            yield f"it took {self.seconds:.2f} s to end"
        if self.is_unheld:
            return
        yield from complaints_about(self.stderr.decode(errors="replace"), signals=len(self.signals))
        was_over = self.marks.get("over", math.inf)
        if not self.signals:
            if self.status:
                yield f"it was not interrupted, and ended with status {self.status}"
        elif self.status == 0:
            if self.signals[0] < was_over - IN_DOUBT:
                yield "the interrupt was lost"
        elif self.status not in (-signal.SIGINT, 1):
            yield f"it ended with status {self.status}"
        elif self.status == 1 and b"KeyboardInterrupt" not in self.stderr:
            yield "it ended with status 1"

    @property
    def peers_to_tell(self) -> list[Peer]:
        """The peers to which a Close was owed: a single signal, while everybody's connection was open and idle."""
        if len(self.signals) != 1:
            return []
        (moment,) = self.signals
        return [
            peer
            for peer in self.peers
            if peer.opened_at + SETTLED < moment < min(peer.closed_at - SETTLED, self.marks.get("over", math.inf))
        ]


def run_program(program: Program, port: int, pipe: int) -> None:
    """Be the child, whose program lives from "begin" to "over".

    A signal before that strikes while trio sets itself up, one behind it while the interpreter prints its traceback
    and shuts down. Neither has anything to do with the library, and both may print what they like; so the one is not
    sent, and the other is ignored.
    """
    global said_to
    said_to = pipe

    async def live() -> None:
        say("begin")
        await program(port)

    try:
        trio.run(live)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("over")


# Between the call that makes a coroutine and the `await` that starts it, the interpreter may run the handler of a
# signal, in the frame of the caller. Where that is the program's (`async with`, `await`, `nursery.start`), nobody can
# protect it: the coroutine never starts, `__aexit__` too, and what the block held is lost with it. Trio's own nurseries
# have the same gap, and trio complains of what it finds then. So nothing is asked of such a try, but that it ends.
GAP: Final = re.compile(
    r"RuntimeWarning: coroutine '"
    r"((WebSocketBlock|ServerBlock|MessageStream)\.__a(enter|exit)__|WebSocket\.(send|receive|ping|aclose)"
    r"|Parts\.__anext__|Server\.aclose|serve|NurseryManager\.__a(enter|exit)__|sleep\w*)' was never awaited"
)
# `trio.open_tcp_stream` dials in tasks of its own, which trio does not protect: a socket may be left to the garbage
# collector there, and a KeyboardInterrupt in the middle of `connect` has the system's "would block" for its context.
DIALLING: Final = "_highlevel_open_tcp_stream.py"
OF_DIALLING: Final = re.compile(
    r"BlockingIOError: .*|During handling of the above exception, another exception occurred:"
    r"|(Exception ignored in: |ResourceWarning: unclosed )<socket\.socket .*"
)
# A codec that is interrupted while `connect` reads its URL says so, which is Python's own doing; since 3.13 in a note.
OF_CODEC: Final = "KeyboardInterrupt: encoding with 'idna' codec failed"
# One that strikes when trio has closed its end of the wakeup pipe, and not yet told Python so.
WAKEUP: Final = "Exception ignored when trying to write to the signal wakeup fd:"
OF_WAKEUP: Final = re.compile(rf"{WAKEUP}|BrokenPipeError: \[Errno 32\] .*|OSError: \[Errno 9\] .*")
DECORATION: Final = re.compile(r"^ *[|+] ?")
ALLOWED: Final = re.compile(
    r"KeyboardInterrupt(: encoding with 'idna' codec failed .*)?|encoding with 'idna' codec failed|"
    r"Traceback \(most recent call last\):|Exception Group Traceback \(most recent call last\):"
    r"|(Base)?ExceptionGroup: .*|[-+]+( \d+ )?-*|"
)


def complaints_about(stderr: str, *, signals: int) -> Iterator[str]:
    """Tell the lines that no traceback of mere KeyboardInterrupts has, alone or in groups of nothing else.

    Of two of them, the second may have come while the first was on its way.
    """
    for line in stderr.splitlines():
        bare = DECORATION.sub("", line)  # in a group, each line has a bar in front of it
        is_chain = bare == "During handling of the above exception, another exception occurred:" and signals == 2
        is_chain |= bare.startswith("The above exception was") and OF_CODEC in stderr
        if is_chain or bare.startswith(" ") or ALLOWED.fullmatch(bare):
            continue
        if (DIALLING in stderr and OF_DIALLING.fullmatch(bare)) or (WAKEUP in stderr and OF_WAKEUP.fullmatch(bare)):
            continue
        yield f"stderr: {line}"


# -- all of them ------------------------------------------------------------------------------------------------------


@dataclass
class Summary:
    """What came of all tries of a variant.

    Attributes:
        life: seconds that the program takes if it is not interrupted.
        ended_by: how many tries ended by each exit status.
        slowest: seconds from the last signal to the end, at most.
        owed: peers whose connection was open and idle at the one signal.
        told: those of them that saw Close 1001.
        unheld: tries that struck in a `GAP`.
        complaints: with the stderr that they are about.
    """

    life: float
    ended_by: dict[int, int] = field(default_factory=dict)
    slowest: float = 0
    owed: int = 0
    told: int = 0
    unheld: int = 0
    complaints: list[str] = field(default_factory=list)

    def add(self, done: Try, number: int) -> None:
        self.ended_by[done.status] = self.ended_by.get(done.status, 0) + 1
        self.slowest = max(self.slowest, done.seconds)
        self.unheld += done.is_unheld
        owed = [] if done.is_unheld else done.peers_to_tell
        self.owed += len(owed)
        self.told += sum(peer.codes == [1001] for peer in owed)
        if found := list(done.complaints()):
            since = [round(moment - done.marks["begin"], 4) for moment in done.signals]
            what = "\n".join(found)
            self.complaints.append(
                f"try {number}, signals {since} s after its begin, marks {done.marks}: {what}\n"
                f"{done.stderr.decode(errors='replace')}"
            )


def play(loop: Loop, tries: list[Try], then: Callable[[Try, int], None]) -> Callable[[], None] | None:
    """Play *tries*, some at once; return the program in each child, `None` in the parent when all are done."""
    waiting = list(enumerate(tries))
    running: list[tuple[int, Try]] = []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, current = waiting.pop(0)
            if (program := current.start()) is not None:
                return program
            running.append((number, current))
        loop.turn()
        for number, current in list(running):
            if current.over:
                running.remove((number, current))
                then(current, number)
    return None


def main(name: str, tries: int, seed: int) -> Callable[[], None] | None:
    """Return the program in each child, `None` in the parent; so that a child ends from its outermost frame."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
    HOST.encode("idna")  # imports that codec now, lest a signal hits the machinery of imports
    variant = VARIANTS[name]
    if name == "secured":
        contexts()
    gc.freeze()  # what was imported need not be looked through at the end of each child
    loop = Loop()
    lives: list[float] = []
    complaints: list[str] = []

    def measure(done: Try, number: int) -> None:
        complaints.extend(f"{each}, uninterrupted\n{done.stderr.decode()}" for each in done.complaints())
        lives.append(done.marks["over"] - done.marks["begin"])

    calm = [Try(loop, variant, variant.measured or variant.manner, math.inf, math.inf) for _ in range(3)]
    if (program := play(loop, calm, measure)) is not None:
        return program
    summary = Summary(min(lives), complaints=complaints)
    chance = random.Random(seed)
    interrupted = [
        Try(
            loop,
            variant,
            variant.manner,
            chance.uniform(0, summary.life),
            chance.uniform(0, SECOND_WITHIN) if chance.random() < 0.5 else math.inf,
        )
        for _ in range(tries)
    ]
    if (program := play(loop, interrupted, summary.add)) is not None:
        return program
    loop.forget()
    print(json.dumps(asdict(summary)), flush=True)
    return None


if __name__ == "__main__":
    given = sys.argv[1:]
    end = main(given[0], int(given[1]), int(given[2]) if len(given) > 2 else random.randrange(10**9))
    if end is not None:
        end()
