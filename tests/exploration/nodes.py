"""All that one side can come to: each state once, each step from it taken once."""

from __future__ import annotations

from collections.abc import Hashable
from graphlib import CycleError, TopologicalSorter

from .bounds import Bounds
from .chunk import Chunk, Wire
from .side import Call, Side, Status, Violation

__all__ = ["Nodes"]


class Nodes:
    """The nodes of one side, numbered as they are found; 0 is OPEN, with nothing done yet.

    Attributes:
        statuses: of the nodes.
    """

    def __init__(self, wire: Wire, bounds: Bounds, *, client: bool) -> None:
        self.client = client
        self.bounds = bounds
        self.statuses: list[Status] = []
        self._wire = wire
        self._logs: list[tuple[Call, ...]] = []
        self._numbers: dict[tuple[Status, Hashable], int] = {}
        self._steps: dict[tuple[int, str | Chunk], tuple[int, tuple[Chunk, ...]]] = {}
        self._add(Side(wire, (), Status(), client=client))

    def _add(self, side: Side) -> int:
        status, log, session = side.outcome()
        number = self._numbers.setdefault((status, session), len(self._logs))
        if number == len(self._logs):
            self.statuses.append(status)
            self._logs.append(log)
        return number

    def take(self, node: int, step: str | Chunk) -> tuple[int, tuple[Chunk, ...]]:
        """Return the node that *step* leads to, and what the step gives to the network.

        Raises:
            Violation: what came of it is not what the contract says.
        """
        known = self._steps.get((node, step))
        if known is None:
            side = Side(self._wire, self._logs[node], self.statuses[node], client=self.client)
            given = side.take(step)
            known = self._steps[node, step] = self._add(side), given
        return known

    def check_acyclic(self) -> None:
        """Raise if a side could come back to where it was."""
        graph: dict[int, set[int]] = {}
        for (node, _), (target, _) in self._steps.items():
            if node != target:
                graph.setdefault(target, set()).add(node)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            raise Violation(f"a side goes round in circles: {error.args[1]}") from None
