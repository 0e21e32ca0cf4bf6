"""One connection, a window of bytes in flight: how many messages the server can echo in a second.

Sending and receiving go on in one loop without blocking, so that neither side can wait for the other for ever. The
window is refilled when half of it is used up, so every server finds many messages in its socket, whether it answers by
the message or by the batch. After a read that gave little, this process naps for an instant in place of waiting for the
socket: else a server that answers by the message would pay with each of its system calls for waking this process.
(`SO_RCVLOWAT` will not do: small segments fill the receive buffer long before they come to many bytes, and the server
stands still until a timer runs out.)
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Final

from .. import wire
from .connections import connect
from .job import Job, Reply
from .process import cpu_seconds

__all__ = ["pipelined"]

WINDOW: Final = 2**18  # bytes in flight
LARGE_WINDOW: Final = 2**22  # the most for large messages, of which there are 16 in flight
MUCH: Final = 2**15  # bytes
NAP: Final = 50e-6  # seconds; the kernel makes about 100 µs of it
CHUNK: Final = 2**20
STUCK: Final = 10.0  # seconds without any progress


def pipelined(job: Job) -> Reply:
    with connect(job) as sock:
        sock.setblocking(False)
        flow = Flow(job, sock)
        flow.run(job.seconds / 5)
        before = cpu_seconds(job.pid)
        messages, seconds = flow.run(job.seconds)
        cpu = cpu_seconds(job.pid) - before
    return {"value": messages / seconds, "messages": messages, "seconds": seconds, "busy": cpu / seconds}


class Flow:
    """Messages that are sent round and round, and their echoes."""

    def __init__(self, job: Job, sock: socket.socket) -> None:
        one = len(wire.frame(wire.payload(job.size), masked=True))
        number = max(2, WINDOW // one)
        payloads = [wire.payload(job.size, each) for each in range(number)]
        frames = [wire.frame(data, text=job.text, masked=True) for data in payloads]
        echoes = frames if job.floor else [wire.frame(data, text=job.text) for data in payloads]
        self.sock = sock
        self.sent_size, self.echo_size, self.number = len(frames[0]), len(echoes[0]), number
        self.window = max(WINDOW, min(16 * self.sent_size, LARGE_WINDOW))
        self.frames = memoryview(b"".join(frames))
        self.echoes = echoes
        self.buffer = memoryview(bytearray(CHUNK))
        self.sent = self.received = 0  # bytes, since the connection was opened
        self.ends = bytearray()

    def run(self, seconds: float) -> tuple[int, float]:
        """Keep the window full for *seconds*, then wait for what is still out; return messages and seconds."""
        poll = select.poll()
        before = self.received // self.echo_size
        limit = first_end = self.received + self.echo_size
        last = target = -1  # known when sending ends
        self.ends.clear()
        refill = True
        begin = moved = time.perf_counter()
        while True:
            now = time.perf_counter()
            if target < 0 and now - begin >= seconds:
                # One more whole message, so that all of the last echo is still to come.
                whole = -(-self.sent // self.sent_size) + 1
                limit, target = whole * self.sent_size, whole * self.echo_size
                last = target - self.echo_size
            came = self.read(first_end, last)
            if self.received == target:
                break
            in_flight = self.sent - self.received * self.sent_size // self.echo_size
            room = limit - self.sent if target >= 0 else self.window - in_flight
            refill = room > 0 and (refill or target >= 0 or room * 2 >= self.window)
            went = self.write(room) if refill else 0
            if came or went:
                moved = now
                if went:
                    continue
            elif now - moved > STUCK:
                raise TimeoutError(f"{in_flight} bytes are in flight, and nothing moves")
            if came < MUCH and target < 0 and not refill:
                time.sleep(NAP)
                continue
            poll.register(self.sock, select.POLLIN | (select.POLLOUT if refill else 0))
            poll.poll(1000)
        elapsed = time.perf_counter() - begin
        self.check(before)
        return target // self.echo_size - before, elapsed

    def write(self, most: int) -> int:
        place = self.sent % len(self.frames)
        try:
            went = self.sock.send(self.frames[place : place + most])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        self.sent += went
        return went

    def read(self, first_end: int, last: int) -> int:
        """Read what is there; keep the bytes of the first and of the last echo."""
        came = 0
        while True:
            try:
                size = self.sock.recv_into(self.buffer)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return came
            if not size:
                raise ConnectionError(f"the server closed after {self.received} bytes")
            if self.received < first_end:
                self.ends += self.buffer[: min(size, first_end - self.received)]
            if last >= 0 and self.received + size > last:
                self.ends += self.buffer[max(0, last - self.received) : size]
            self.received += size
            came += size

    def check(self, before: int) -> None:
        last = self.received // self.echo_size - 1
        if bytes(self.ends) != self.echoes[before % self.number] + self.echoes[last % self.number]:
            raise ValueError("what came back is not what was sent")
