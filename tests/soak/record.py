"""What the processes write down: a JSON line for each connection and side, and for each that the relay has seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from trio_closeevents import CloseEvent

from .plan import Frame

__all__ = ["Journal", "Reader", "Record", "Relayed", "Remark", "Side"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's view of a connection.

    Attributes:
        opened: the opening handshake was done; without it there is no event of a connection.
        event: `CloseEvent.to_dict`; of a client that did not open, that of its `HandshakeError`.
        left_by: the types of the exceptions that left the block, `""` if none.
        seconds: from the end of the block's body until the block was left; `None` where nobody measured.
        server_end: the Close frame that the server as a whole was sending when the handler ended; `None`: none.
    """

    number: int
    role: Literal["client", "server"]
    opened: bool
    event: dict[str, Any] | None = None
    left_by: str = ""
    seconds: float | None = None
    server_end: Frame | None = None

    @property
    def close_event(self) -> CloseEvent | None:
        return None if self.event is None else CloseEvent.from_dict(self.event)


@dataclass(frozen=True, slots=True)
class Relayed:
    """What the relay did to a connection: how it cut it, `""` if it did not; `"refused"`: the server was not there."""

    number: int
    cut: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that should not have been logged."""

    text: str


Record: TypeAlias = Side | Relayed | Remark
KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Side, Relayed, Remark)}


class Journal(logging.Handler):
    """Appends records to a file, which is all that is kept of them; errors of the library's log are records too."""

    def __init__(self, path: Path, expected: type[Exception]) -> None:
        super().__init__(logging.WARNING)
        self._file = path.open("a", buffering=1)
        self._expected = expected

    def write(self, record: Record) -> None:
        self._file.write(json.dumps({"kind": type(record).__name__} | asdict(record)) + "\n")

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, self._expected):
            self.write(Remark(self.format(record)))

    def close(self) -> None:
        self._file.close()
        super().close()


class Reader:
    """Reads what was added to a journal since it was asked last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def __iter__(self) -> Iterator[Record]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                self._offset += len(line)
                fields = json.loads(line)
                kind = KINDS[fields.pop("kind")]
                if fields.get("server_end") is not None:
                    fields["server_end"] = tuple(fields["server_end"])
                yield kind(**fields)
