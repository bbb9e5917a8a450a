"""Claim: what the other scripts here claim; this one runs them all, one after the other.

`python benchmarks/all.py` takes a while. `--quick cpu` and `--quick gpu` measure less, in
at most `--seconds` in all, most important first. A script that fails or takes too long is
said to have, and the next one starts.
"""

import argparse
import pathlib
import subprocess
import sys
import time

FULL = [
    ["step_time.py", "--trees", "one leaf", "resnet", "gpt", "small leaves"],
    ["step_time.py", "--trees", "resnet", "--tables", "decays", "--dtypes", "float32"],
    ["step_time.py", "--trees", "one leaf", "--tables", "penalties"],
    ["compile_time.py"],
    ["loss_penalty.py"],
    ["prox_cost.py"],
    ["import_time.py"],
    ["first_result.py"],
    ["sweep.py"],
    ["compaction.py"],
    ["compaction_torch_pruning.py"],
]

_IN_ONE = ["step_time.py", "--in-one-program", "--steps", "20", "--rounds", "15"]
QUICK = {
    "cpu": [
        ["step_time.py", "--trees", "resnet", "--dtypes", "float32", "--rounds", "8"],
        ["compile_time.py", "--leaves", "10", "100", "--rounds", "2"],
        ["loss_penalty.py", "--rounds", "15"],
        ["prox_cost.py", "--sizes", "128", "--rounds", "4"],
        ["import_time.py", "--rounds", "5"],
        ["sweep.py", "--strengths", "8", "--steps", "200"],
    ],
    "gpu": [
        [*_IN_ONE, "--trees", "gpt"],
        [*_IN_ONE, "--trees", "one leaf", "resnet", "--seconds", "25"],
        ["step_time.py", "--trees", "gpt", "--dtypes", "float32", "--steps", "10"],
        ["loss_penalty.py", "--steps", "20", "--rounds", "20"],
        ["compile_time.py", "--leaves", "100", "300", "--rounds", "1"],
        [*_IN_ONE, "--trees", "small leaves", "--rows", "prox_adam, L1", "--no-torch"],
        ["prox_cost.py", "--sizes", "128", "--rounds", "3"],
        ["sweep.py"],
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", choices=QUICK)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--each", type=float, default=1e9, help="seconds for one script")
    options = parser.parse_args()
    begin = time.perf_counter()
    for script, *arguments in QUICK[options.quick] if options.quick else FULL:
        left = options.seconds - (time.perf_counter() - begin)
        print(f"\n== {script} {' '.join(arguments)}", flush=True)
        if left < 5:
            print("left out: the time is up", flush=True)
            continue
        path = pathlib.Path(__file__).parent / script
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, str(path), *arguments],
                timeout=min(left, options.each),
                check=False,
            )
        except subprocess.TimeoutExpired:
            print("stopped: it took too long", flush=True)
        else:
            seconds = time.perf_counter() - start
            print(f"exit status {done.returncode}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
