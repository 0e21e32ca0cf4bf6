"""`python -m trio_closeevents`, and the console script `trio-closeevents`."""

import sys
from typing import Final

__all__ = ["main"]

EXTRA: Final = {"click", "rich"}
NO_EXTRA: Final = "trio-closeevents: the command line needs {}: pip install 'trio-closeevents[cli]'"
CANNOT: Final = 2


def main() -> int:
    """Run the command line, and return the exit status."""
    try:
        from ._cli.app import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        print(NO_EXTRA.format(missing), file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
