"""`trio-closeevents demo`: every way in which a connection can end."""

from __future__ import annotations

import click

__all__ = ["demo"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def demo(*, as_json: bool) -> int:
    """Play every way in which a connection can end.

    On real sockets of the loopback; tells whether each is as the closing contract has it. The exit status is 1 if one
    is not.
    """
    from .._demo.command import play  # there is much of it, and the other commands begin without

    return play(as_json=as_json)
