"""The program's half of a scene: `python -m benchmarks.endings.program LIBRARY SCENE [PORT]`.

A client is told where to connect; a server prints its port. At the end it prints what there is to tell, as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from typing import Any

import trio

from .clients import SCENES as CLIENTS
from .libraries import HOST, LIBRARIES
from .scene import Scene, name_of
from .servers import SCENES as SERVERS

__all__ = ["SCENES"]

SCENES: dict[str, Scene] = {scene.name: scene for scene in (*CLIENTS, *SERVERS)}


def main(library: str, scene: str, port: str = "") -> None:
    logging.disable()  # a library's log is not what is looked at
    tell: Any = f"ws://{HOST}:{port}/" if port else partial(print, flush=True)
    LIBRARIES[library].load()
    try:
        outcome = trio.run(SCENES[scene].program, LIBRARIES[library], tell)
    except BaseException as error:  # whatever leaves the block, and was not expected to
        outcome = {"raised": name_of(error)}
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
