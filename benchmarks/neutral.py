"""The echo server that the libraries' clients are measured against: raw sockets, no frame is ever looked into.

    python -m benchmarks.neutral SIZE [--text]

All frames that it is sent have the same size, so it only counts bytes, and answers each frame with one that was encoded
beforehand. It prints its port, and serves one connection after the other until it is killed.
"""

from __future__ import annotations

import argparse
import re
import select
import socket
from typing import Final

from . import wire

CLOSE_BYTE: Final = 0x80 | wire.CLOSE
CHUNK: Final = 2**20
BATCH: Final = 2**18  # bytes of answers that are encoded beforehand


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("size", type=int)
    parser.add_argument("--text", action="store_true")
    arguments = parser.parse_args()
    data = wire.payload(arguments.size)
    answer = wire.frame(data, text=arguments.text)
    size = len(wire.frame(data, masked=True))
    with socket.create_server((wire.HOST, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            with sock:
                try:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    shake_hands(sock)
                    serve(sock, size, answer)
                except ConnectionError:
                    pass


def shake_hands(sock: socket.socket) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("no request")
        received += data
    found = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", received)
    if found is None:
        raise ConnectionError("no key")
    sock.sendall(wire.response(found[1]))


def serve(sock: socket.socket, size: int, answer: bytes) -> None:
    """Answer every *size* bytes with *answer*, until a Close frame or EOF comes."""
    sock.setblocking(False)
    answers = memoryview(answer * max(1, BATCH // len(answer)))
    buffer = memoryview(bytearray(CHUNK))
    poll = select.poll()
    received = sent = owed = 0  # bytes; none of them is ever stored
    head = 0  # the first byte of the frame that is not yet whole
    while True:
        poll.register(sock, select.POLLIN | (select.POLLOUT if owed else 0))
        poll.poll()
        try:
            came = sock.recv_into(buffer)
        except BlockingIOError:
            pass
        else:
            if not came:
                return
            whole = received // size
            received += came
            owed += (received // size - whole) * len(answer)
            rest = received % size
            if rest and rest <= came:
                head = buffer[came - rest]
            if rest and head == CLOSE_BYTE:
                break
        if owed:
            place = sent % len(answers)
            try:
                went = sock.send(answers[place : place + owed])
            except BlockingIOError:
                continue
            sent += went
            owed -= went
    # The client has all its answers, or does not want them; its Close frame has code 1000 or none.
    sock.setblocking(True)
    sock.sendall(wire.frame(b"\x03\xe8", opcode=wire.CLOSE))


if __name__ == "__main__":
    main()
