"""`python -m benchmarks.zoo fetch [MODEL ...]`: packages, then models, then data."""

from __future__ import annotations

import argparse
import sys

from benchmarks.zoo.catalogue import ZOO
from benchmarks.zoo.provide import is_ready, provide
from benchmarks.zoo.store import NotFetchedError, places


def main() -> int:
    """Exit code 1 when a model could not be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("command", choices=["fetch", "list"])
    parser.add_argument("model", nargs="*", help=f"of {', '.join(ZOO)}; default: all")
    options = parser.parse_args()
    unknown = sorted(set(options.model) - set(ZOO))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(ZOO)}")
    failed = False
    for name in options.model or ZOO:
        if options.command == "list":
            print(f"{name}: {'ready' if is_ready(name, places()) else 'not fetched'}")
            continue
        try:
            model, _ = provide(name)
        except NotFetchedError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"{name}: {model}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
