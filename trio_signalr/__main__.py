"""``python -m trio_signalr`` is the command ``trio-signalr``."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main())
