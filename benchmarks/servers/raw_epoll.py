"""The ceiling: raw sockets that echo bytes, with nothing but `epoll`. It shows how fast the load client can be."""

import select
import socket

from .common import HOST, announce, settings


def main() -> None:
    settings()
    listener = socket.create_server((HOST, 0), backlog=2048)
    announce(listener.getsockname()[1])
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    buffer = memoryview(bytearray(2**18))
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[sock.fileno()] = sock
                epoll.register(sock, select.EPOLLIN)
                continue
            sock = sockets[descriptor]
            try:
                size = sock.recv_into(buffer)
                sock.sendall(buffer[:size])
            except ConnectionError:
                size = 0
            if not size:
                del sockets[descriptor]
                sock.close()


if __name__ == "__main__":
    main()
