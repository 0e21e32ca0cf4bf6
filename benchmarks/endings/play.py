"""Plays a scene with a library: runs the program in a process of its own, and the peer's half here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

from .libraries import HOST, Library
from .scene import LIMIT, Result, Scene, Stage, saw

__all__ = ["play"]

ROOT: Final = Path(__file__).parents[2]
AFTERWARDS: Final = 0.3  # seconds for what is still on its way, and for a server that has failed to say so
START_LIMIT: Final = 30.0  # seconds; a busy machine imports slowly


async def play(scene: Scene, library: Library) -> Result:
    """Play *scene*; whatever goes wrong in the program is a part of the result."""
    result = Result()
    if scene.role == "client":
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        async with listener:
            port = listener.socket.getsockname()[1]
            await run(scene, library, result, [str(port)], listener)
    else:
        await run(scene, library, result, [], None)
    return result


async def run(
    scene: Scene, library: Library, result: Result, arguments: list[str], listener: trio.SocketListener | None
) -> None:
    command = [sys.executable, "-m", "benchmarks.endings.program", library.name, scene.name, *arguments]
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said = {"stdout": bytearray(), "stderr": bytearray()}
    heard, opened, played = trio.Event(), trio.Event(), trio.Event()

    async def listen(name: str, stream: trio.abc.ReceiveStream) -> None:
        async for data in stream:
            said[name] += data
            if name == "stdout":
                heard.set()
        if name == "stdout":
            opened.set()  # it has ended, and will not connect any more

    async def connect() -> trio.SocketStream:
        if listener is None:
            await heard.wait()
            stream = await trio.open_tcp_stream(HOST, int(said["stdout"].split()[0]))
        else:
            stream = await listener.accept()
        opened.set()
        return stream

    async def be_peer() -> None:
        try:
            await scene.script(stage)
        except (OSError, AssertionError, trio.BrokenResourceError) as error:
            result.notes["the peer"] = str(error)
        finally:
            played.set()

    stage = Stage(result, process, connect)
    async with trio.open_nursery() as nursery:
        for name in said:
            nursery.start_soon(listen, name, getattr(process, name))
        async with trio.open_nursery() as playing:
            playing.start_soon(be_peer)
            with trio.move_on_after(START_LIMIT):
                await opened.wait()
            with trio.move_on_after(LIMIT) as scope:
                await (process.wait() if scene.role == "client" else played.wait())
            result.hangs = scope.cancelled_caught and scene.role == "client"  # a server serves on
            if not result.hangs:
                await trio.sleep(AFTERWARDS)
            playing.cancel_scope.cancel()
        result.saw = [saw(peer) for peer in stage.peers]
        result.frames = [str(frame) for peer in stage.peers[:1] for frame in peer.frames[:5]]
        await stage.aclose()
        if process.poll() is None:
            process.kill()
        await process.wait()
    lines = said["stdout"].decode().split("\n")[:-1]
    if not result.hangs and lines and lines[-1].startswith("{"):
        result.outcome = json.loads(lines[-1])
    complaints = [line.strip(" |+-") for line in said["stderr"].decode().splitlines()]
    result.complaint = next(filter(None, reversed(complaints)), f"exit code {process.returncode}")
