"""Opening connections for the load client."""

from __future__ import annotations

import socket
import ssl

from .. import wire
from .job import FLOOR_BYTE, Job

__all__ = ["check_response", "connect", "connect_many", "exchange"]

AT_ONCE = 50  # connections whose handshakes travel together: no library's backlog is smaller


def connect(job: Job) -> socket.socket:
    """Return one open connection, with a blocking socket."""
    return connect_many(job, 1)[0]


def connect_many(job: Job, number: int) -> list[socket.socket]:
    """Return *number* open connections, with blocking sockets."""
    opened: list[socket.socket] = []
    while len(opened) < number:
        batch = [dial(job) for _ in range(min(AT_ONCE, number - len(opened)))]
        for sock in batch:
            sock.sendall(FLOOR_BYTE if job.floor else wire.request(job.port))
        for sock in batch:
            if job.floor:
                if sock.recv(1) != FLOOR_BYTE:
                    raise ConnectionError("the server does not echo")
            else:
                check_response(read_response(sock))
        opened += batch
    return opened


def dial(job: Job) -> socket.socket:
    sock = socket.create_connection((wire.HOST, job.port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not job.tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def read_response(sock: socket.socket) -> bytes:
    # Nothing follows it yet: no server here speaks first.
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            break
        received += data
    return received


def check_response(received: bytes) -> None:
    """Raise `ConnectionError` unless *received* is a whole response that agrees to the upgrade, without extensions."""
    lines = received.lower().split(b"\r\n")
    token = b"sec-websocket-accept: " + wire.accept_token(wire.KEY).lower()
    if b" 101" not in lines[0] or token not in lines or b"sec-websocket-extensions" in received.lower():
        raise ConnectionError(f"the upgrade was refused: {received!r}")


def exchange(job: Job) -> tuple[bytes, bytes]:
    """Return a message and its echo."""
    data = wire.payload(job.size)
    message = wire.frame(data, text=job.text, masked=True)
    return message, message if job.floor else wire.frame(data, text=job.text)
