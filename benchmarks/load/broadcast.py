"""One connection sends a message, the server sends it to all: how many of these rounds fit in a second."""

from __future__ import annotations

import select
import time

from .connections import connect_many, exchange
from .job import Job, Reply

__all__ = ["broadcast"]


def broadcast(job: Job) -> Reply:
    message, expected = exchange(job)
    sockets = {sock.fileno(): sock for sock in connect_many(job, job.connections)}
    first = next(iter(sockets.values()))
    epoll = select.epoll()
    for descriptor, sock in sockets.items():
        sock.setblocking(False)
        epoll.register(descriptor, select.EPOLLIN)

    def play(seconds: float) -> tuple[int, float]:
        rounds = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            first.send(message)
            parts: dict[int, bytes] = {}
            missing = len(sockets)
            while missing:
                events = epoll.poll(10)
                if not events:
                    raise TimeoutError(f"{missing} connections wait for the message")
                for descriptor, _ in events:
                    received = sockets[descriptor].recv(65536)
                    if received != expected:
                        received = parts.get(descriptor, b"") + received
                        parts[descriptor] = received
                        if len(received) < len(expected) and received:
                            continue
                        if received != expected:
                            raise ValueError("what arrived is not what was sent")
                    missing -= 1
            rounds += 1
        return rounds, time.perf_counter() - begin

    play(job.seconds / 5)
    rounds, seconds = play(job.seconds)
    for sock in sockets.values():
        sock.close()
    return {"value": rounds / seconds, "rounds": rounds, "seconds": seconds, "messages": rounds * len(sockets)}
