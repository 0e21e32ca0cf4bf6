"""One message out, its echo back, on one connection or on many at once."""

from __future__ import annotations

import select
import socket
import ssl
import time

from .connections import connect, connect_many, exchange
from .job import Job, Reply
from .process import cpu_seconds

__all__ = ["crowd", "pingpong"]


def pingpong(job: Job) -> Reply:
    message, echo = exchange(job)
    with connect(job) as sock:
        rally(sock, message, echo, job.seconds / 5)
        rounds, seconds = rally(sock, message, echo, job.seconds)
    return {"value": rounds / seconds, "messages": rounds, "seconds": seconds}


def rally(sock: socket.socket, message: bytes, echo: bytes, seconds: float) -> tuple[int, float]:
    sock.settimeout(None)  # with a timeout, every call would be two
    rounds = 0
    size = len(echo)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        sock.sendall(message)
        received = sock.recv(65536)
        while len(received) < size:
            data = sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed")
            received += data
        if received != echo:
            raise ValueError("what came back is not what was sent")
        rounds += 1
    return rounds, time.perf_counter() - begin


def crowd(job: Job) -> Reply:
    """Let every connection play its own ping-pong at once."""
    message, echo = exchange(job)
    sockets = connect_many(job, job.connections)
    played = Crowd(sockets, message, echo)
    played.run(job.seconds / 5)
    before = cpu_seconds(job.pid)
    rounds, seconds = played.run(job.seconds)
    cpu = cpu_seconds(job.pid) - before
    for sock in sockets:
        sock.close()
    return {"value": rounds / seconds, "messages": rounds, "seconds": seconds, "busy": cpu / seconds}


class Crowd:
    """Sockets with at most one message each on its way."""

    def __init__(self, sockets: list[socket.socket], message: bytes, echo: bytes) -> None:
        self.message, self.echo = message, echo
        self.epoll = select.epoll()
        self.sockets = {sock.fileno(): sock for sock in sockets}
        for descriptor, sock in self.sockets.items():
            sock.setblocking(False)
            self.epoll.register(descriptor, select.EPOLLIN)

    def run(self, seconds: float) -> tuple[int, float]:
        message, echo, sockets = self.message, self.echo, self.sockets
        parts: dict[int, bytes] = {}
        rounds = 0
        begin = time.perf_counter()
        for sock in sockets.values():
            sock.send(message)
        out = len(sockets)
        while out:
            events = self.epoll.poll(10)
            if not events:
                raise TimeoutError(f"{out} echoes are missing")
            going_on = time.perf_counter() - begin < seconds
            for descriptor, _ in events:
                sock = sockets[descriptor]
                try:
                    received = sock.recv(65536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                if received != echo:
                    received = parts.pop(descriptor, b"") + received
                    if len(received) < len(echo) and echo.startswith(received) and received:
                        parts[descriptor] = received
                        continue
                    if received != echo:
                        raise ValueError("what came back is not what was sent")
                rounds += 1
                if going_on:
                    sock.send(message)
                else:
                    out -= 1
        return rounds, time.perf_counter() - begin
