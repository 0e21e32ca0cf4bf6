"""`connect` as a filter: a line of stdin is a message that is sent, a message that is received is a line of stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from .acts import Act, filtered, typed
from .clean import visible
from .face import Form
from .json_text import compact
from .output import Output, read_some
from .show import console_of, report

__all__ = ["Pipe"]


class Pipe:
    """A face for pipes and files, and for terminals that cannot move their cursor."""

    def __init__(self, form: Form, on_lost: Callable[[], object], *, quiet: bool) -> None:
        self._form = form
        self._quiet = quiet
        self._output = Output(sys.stdout.fileno(), on_lost)
        self._errors = console_of(sys.stderr)
        self._from_terminal = sys.stdin.isatty()
        self._to_terminal = sys.stdout.isatty()
        self.ends_at_once = self._from_terminal

    def opened(self) -> AbstractAsyncContextManager[None]:
        return self._output.opened()

    async def read(self, acts: trio.MemorySendChannel[Act]) -> None:
        async with acts:
            rest = b""
            while data := await read_some(sys.stdin.fileno()):
                *lines, rest = (rest + data).split(self._form.separator)
                for line in lines:
                    await acts.send(self._act(line))
            if rest:
                await acts.send(self._act(rest))

    def _act(self, line: bytes) -> Act:
        if self._from_terminal:
            return typed(line.decode(errors="replace"), as_json=self._form.as_json)
        return filtered(line.removesuffix(b"\r"), as_json=self._form.as_json, as_hex=self._form.as_hex)

    async def message(self, message: str | bytes) -> None:
        try:
            text = self._line(message)
        except ValueError as error:
            await self.note(f"a message that is not JSON was left out: {error}", "red")
            return
        if self._to_terminal:
            text = visible(text, lines=True)
        encoding = sys.stdout.encoding if self._to_terminal else "utf-8"
        await self._output.write(text.encode(encoding, errors="backslashreplace") + self._form.separator)

    def _line(self, message: str | bytes) -> str:
        if self._form.as_json:
            return compact(message)
        if self._form.as_hex:
            message = message.encode() if isinstance(message, str) else message
        return message if isinstance(message, str) else message.hex()

    async def note(self, text: str, style: str = "") -> None:
        await trio.lowlevel.checkpoint()
        if not self._quiet:
            report(self._errors, text, style)

    async def state(self, *, is_open: bool) -> None:
        await trio.lowlevel.checkpoint()
