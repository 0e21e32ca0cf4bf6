"""A connection's whole life: TCP, upgrade, closing handshake, FIN. How many fit in a second, `connections` at once.

The Close frame follows the upgrade at once, or with `spoken` the echo of one message. Some servers close without an
answer to a Close frame that comes so soon, and need not do the work then: that is counted, and told of.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Final

from .. import wire
from .connections import check_response, connect, exchange
from .job import FLOOR_BYTE, Job, Reply

__all__ = ["opening"]

NORMAL: Final = struct.pack("!H", 1000)


class Life:
    """One connection, step by step; `step` is called when there is something to read, and tells when it is over."""

    def __init__(self, job: Job) -> None:
        self.floor = job.floor
        self.message, self.echo = exchange(job) if job.spoken else (b"", b"")
        self.received = b""
        self.open = False
        self.answered = False
        self.sock = socket.create_connection((wire.HOST, job.port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sock.send(FLOOR_BYTE if self.floor else wire.request(job.port))

    def step(self) -> bool:
        data = self.sock.recv(4096)
        self.received += data
        if not self.open:
            if not data:
                raise ConnectionError(f"the server closed while opening: {self.received!r}")
            if self.floor or self.received.endswith(b"\r\n\r\n"):
                if not self.floor:
                    check_response(self.received)
                self.received = b""
                self.open = True
                if self.message:
                    self.sock.send(self.message)
                else:
                    self.begin_to_close()
            return False
        if self.message:
            if self.received == self.echo:
                self.received = self.message = b""
                self.begin_to_close()
            elif not data or not self.echo.startswith(self.received):
                raise ConnectionError(f"the server answered the message with {self.received!r}")
            return False
        if data:
            return False
        self.answered = answered(self.received, self.floor)
        self.sock.close()
        return True

    def begin_to_close(self) -> None:
        if self.floor:  # there is no Close frame: EOF is the way to say it
            self.sock.shutdown(socket.SHUT_WR)
        else:
            self.sock.send(CLOSE)


CLOSE: Final = wire.frame(NORMAL, opcode=wire.CLOSE, masked=True)
CLOSE_ECHO: Final = wire.frame(NORMAL, opcode=wire.CLOSE)


def answered(received: bytes, floor: bool) -> bool:
    if received not in (b"", b"" if floor else CLOSE_ECHO):
        raise ConnectionError(f"the server answered the Close frame with {received!r}")
    return floor or bool(received)


def opening(job: Job) -> Reply:
    live = one_by_one if job.tls else at_once
    live(job, job.seconds / 5)
    lives, unanswered, seconds = live(job, job.seconds)
    return {"value": lives / seconds, "connections": lives, "unanswered": unanswered, "seconds": seconds}


def one_by_one(job: Job, seconds: float) -> tuple[int, int, float]:
    lives = unanswered = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        with connect(job) as sock:
            if job.spoken:
                message, echo = exchange(job)
                sock.sendall(message)
                if sock.recv(4096) != echo:
                    raise ConnectionError("the server does not echo")
            if job.floor:
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.sendall(CLOSE)
            received = b""
            while data := sock.recv(4096):
                received += data
        lives += 1
        unanswered += not answered(received if not job.floor else b"", job.floor)
    return lives, unanswered, time.perf_counter() - start


def at_once(job: Job, seconds: float) -> tuple[int, int, float]:
    epoll = select.epoll()
    living: dict[int, Life] = {}

    def begin() -> None:
        life = Life(job)
        living[life.sock.fileno()] = life
        epoll.register(life.sock, select.EPOLLIN)

    lives = unanswered = 0
    start = time.perf_counter()
    for _ in range(job.connections):
        begin()
    while living:
        events = epoll.poll(10)
        if not events:
            raise TimeoutError(f"{len(living)} connections do not end")
        for descriptor, _ in events:
            life = living[descriptor]
            if not life.step():
                continue
            del living[descriptor]  # epoll forgets a closed descriptor by itself
            lives += 1
            unanswered += not life.answered
            if time.perf_counter() - start < seconds:
                begin()
    elapsed = time.perf_counter() - start
    epoll.close()
    return lives, unanswered, elapsed
