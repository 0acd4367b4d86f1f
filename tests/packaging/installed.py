"""A program for an environment with the wheel in it: what importing trio_signalr brings along, printed as JSON.

It is copied there and started there, so it imports nothing of the tests.
"""

import json
import sys
from importlib.metadata import distributions, packages_distributions, version

import trio_signalr
import trio_signalr.errors
import trio_signalr.messages
import trio_signalr.protocols
import trio_signalr.testing


def main() -> None:
    imported = {name.partition(".")[0] for name in sys.modules}
    owners = packages_distributions()
    report = {
        "file": trio_signalr.__file__,
        "version": trio_signalr.__version__,
        "metadata": version("trio-signalr"),
        "installed": sorted({distribution.name.lower() for distribution in distributions()}),
        "imported": sorted({owner.lower() for name in imported for owner in owners.get(name, ())}),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
