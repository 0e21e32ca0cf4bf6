"""What every server needs: its arguments, its limits, and how it tells its port."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from .. import wire

__all__ = ["HOST", "MAX_SIZE", "Settings", "announce", "run_trio", "settings", "stop_event", "stopped"]

HOST: Final = wire.HOST
MAX_SIZE: Final = 2**21


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says.

    Attributes:
        certificate: a PEM file with the certificate and its key, or `None` for plain TCP.
        broadcast: send every message to all connections.
        profile: a file for cProfile's figures, or `None`.
    """

    certificate: str | None
    broadcast: bool
    profile: str | None

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        return context


def settings() -> Settings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("--broadcast", action="store_true")
    parser.add_argument("--profile")
    arguments = parser.parse_args()
    wire.allow_many_files()
    return Settings(arguments.certificate, arguments.broadcast, arguments.profile)


def announce(port: int) -> None:
    print(port, flush=True)


def run_trio(main: Callable[[Settings], Awaitable[object]]) -> None:
    """Run the server *main* under trio, and under cProfile if that was asked for."""
    chosen = settings()
    if chosen.profile is None:
        trio.run(main, chosen)
        return
    profile = cProfile.Profile()
    profile.runcall(trio.run, main, chosen)
    profile.dump_stats(chosen.profile)


async def stopped() -> None:
    """Return, in a trio program, when this process is told to stop."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


def stop_event() -> asyncio.Event:
    """Return an event that is set, in an asyncio program, when this process is told to stop."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, event.set)
    return event
