"""Claim: importing jaxreg takes at most 1.1 × the time of importing optax.

`import jaxreg` itself imports next to nothing, so the last row also uses a penalty and an
optimizer, as a training script does. Whole processes, in turn, with byte code compiled
(as installing does): `python benchmarks/import_time.py`.
"""

import argparse
import os
import subprocess
import sys

from _measure import interleaved, print_ratios

PROGRAMS = {
    "import optax": "import optax",
    "import jaxreg": "import jaxreg",
    "and L1 and prox_adam": "from jaxreg import L1, prox_adam; import optax",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    # The first round, which is not counted, writes the byte code.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    runs = {
        name: lambda code=code: subprocess.run(
            [sys.executable, "-c", code], check=True, env=environment
        )
        for name, code in PROGRAMS.items()
    }
    interleaved(runs, 1)
    seconds = interleaved(runs, options.rounds)
    print_ratios("a new Python process", seconds, "import optax")


if __name__ == "__main__":
    main()
