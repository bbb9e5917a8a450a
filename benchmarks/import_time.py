"""Claim: importing jaxreg takes at most 1.1 × the time of importing optax.

Whole processes, in turn, with byte code compiled (as installing does):
`python benchmarks/import_time.py`.
"""

import argparse
import subprocess
import sys

from _measure import interleaved, print_ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    runs = {
        f"import {name}": lambda name=name: subprocess.run(
            [sys.executable, "-c", f"import {name}"], check=True
        )
        for name in ("optax", "jaxreg")
    }
    seconds = interleaved(runs, options.rounds)
    print_ratios("a new Python process", seconds, "import optax")


if __name__ == "__main__":
    main()
