"""Connections on which nothing happens: what they cost, and how soon they are told that the server ends."""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from collections import Counter
from typing import Final

from .. import wire
from .connections import connect_many, exchange
from .job import Job, Reply
from .process import resident

__all__ = ["memory", "shutdown"]

SETTLE: Final = 0.3  # seconds until the server is quiet
AHEAD: Final = 20  # connections that are opened first, so that what is paid once is paid


def memory(job: Job) -> Reply:
    """Measure the bytes that one more connection takes in the server's process; the kernel's buffers are not in it."""
    sockets = connect_many(job, AHEAD)
    time.sleep(SETTLE)
    before = resident(job.pid)
    more = connect_many(job, job.connections)
    if job.spoken:
        message, _ = exchange(job)
        for sock in more:
            sock.sendall(message)
            sock.recv(4096)
    time.sleep(SETTLE)
    after = resident(job.pid)
    for sock in sockets + more:
        sock.close()
    return {"value": (after - before) / job.connections, "before": before, "after": after}


def shutdown(job: Job) -> Reply:
    """Stop the server, answer every Close frame, and measure until the last has arrived, and until the last EOF."""
    sockets = {sock.fileno(): sock for sock in connect_many(job, job.connections)}
    epoll = select.epoll()
    for descriptor, sock in sockets.items():
        sock.setblocking(False)
        epoll.register(descriptor, select.EPOLLIN)
    time.sleep(SETTLE)
    seen: Counter[str] = Counter()
    told: set[int] = set()
    last_close = 0.0
    begin = time.perf_counter()
    os.kill(job.pid, signal.SIGTERM)
    while sockets:
        events = epoll.poll(15)
        if not events:
            seen["nothing"] += len(sockets)
            break
        for descriptor, _ in events:
            sock = sockets[descriptor]
            try:
                received = sock.recv(4096)
            except ConnectionError:
                received = b""
            if received[:1] == bytes((0x80 | wire.CLOSE,)) and descriptor not in told:
                (code,) = struct.unpack("!H", received[2:4]) if len(received) >= 4 else (1005,)
                last_close = time.perf_counter() - begin
                told.add(descriptor)
                seen[str(code)] += 1
                sock.send(wire.frame(received[2:4], opcode=wire.CLOSE, masked=True))
            elif not received:
                if descriptor not in told:
                    seen["EOF"] += 1
                del sockets[descriptor]
                sock.close()
    last_end = time.perf_counter() - begin
    if seen["1001"] != job.connections:
        raise ConnectionError(f"not every peer was told 1001: {dict(seen)}")
    return {"value": last_close, "last EOF": last_end, "codes": dict(seen)}
