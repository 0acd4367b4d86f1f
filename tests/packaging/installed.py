"""A program for an environment with the wheel in it: what importing trio_signalr brings along, printed as JSON.

It is copied there and started there, so it imports nothing of the tests.
"""

import importlib
import json
import sys
from importlib.metadata import distributions, packages_distributions, version

PUBLIC = (
    "trio_signalr",
    "trio_signalr.errors",
    "trio_signalr.messages",
    "trio_signalr.protocols",
    "trio_signalr.testing",
)


def main() -> None:
    # httpx imports click and rich, for a command of its own, if they happen to be there: that is not our doing.
    importlib.import_module("httpx")
    before = set(sys.modules)
    ours, *_ = (importlib.import_module(name) for name in PUBLIC)
    imported = {name.partition(".")[0] for name in sys.modules.keys() - before}
    owners = packages_distributions()
    report = {
        "file": ours.__file__,
        "version": ours.__version__,
        "metadata": version("trio-signalr"),
        "installed": sorted({distribution.name.lower() for distribution in distributions()}),
        "imported": sorted({owner.lower() for name in imported for owner in owners.get(name, ())}),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
