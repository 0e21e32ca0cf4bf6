"""`python -m trio_closeevents`."""

import sys

from ._demo.command import main

if __name__ == "__main__":
    sys.exit(main())
