"""`Leaving`: what leaves the inside of a block, and what comes out of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import trio

__all__ = ["Leaving"]


ANY: Final = object()


class Leaving:
    """How a block was left: `inside` stands in it, `outside` round it. A server has several insides, its handlers.

    Attributes:
        raised: the exception that came out.
    """

    def __init__(self) -> None:
        self.raised: BaseException | None = None
        self._left_by: list[tuple[BaseException, object]] = []  # with the `__context__` that it has to keep

    @property
    def left_by(self) -> BaseException | None:
        """The exception that left the inside, the first one if there were several."""
        return self._left_by[0][0] if self._left_by else None

    @property
    def unchanged(self) -> bool:
        """What came out is what left an inside: the very same object, with no new `__context__`."""
        if self.raised is None or not self._left_by:
            return True
        return any(self.raised is error and context in (ANY, error.__context__) for error, context in self._left_by)

    @contextmanager
    def inside(self, *, handler: bool = False) -> Generator[None]:
        """Note what leaves. A *handler* runs in a task of the server's, where exceptions meet others."""
        try:
            yield
        except BaseException as error:
            self._left_by.append((error, ANY if handler else error.__context__))
            raise

    @contextmanager
    def outside(self, scope: trio.CancelScope) -> Generator[None]:
        """Note what comes out, in *scope*, and let it go no further: a row expects it."""
        try:
            with scope:
                try:
                    yield
                except BaseException as error:
                    self.raised = error
                    raise
        except BaseException as error:
            if isinstance(error, trio.Cancelled) or not (isinstance(error, Exception) or self.left_by):
                raise  # the timeout of the stage, or Ctrl-C
