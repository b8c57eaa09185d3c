"""How long importing the library takes, against importing grpc, pydantic and numpy alone.

Run `python -m benchmarks.import_time`. Each round starts a fresh interpreter for each
statement, one after the other, so that a noisy moment of the machine hits all alike.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

BASE = "import grpc, pydantic, numpy"
STATEMENTS = {
    "grpc + pydantic + numpy": BASE,
    "import orchestrator": "import orchestrator",
    "every name of the face": "from orchestrator import *",
    "edge node, before it starts": "import edge_node.__main__, orchestrator.serving.server",
}
GOAL = 1.5
_TIMER = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each statement in each round."""
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            command = [sys.executable, "-c", _TIMER.format(statement)]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            times[name].append(float(found.stdout) * 1e3)
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return the median of each statement, and the median of its ratios to the base."""
    base = next(iter(times.values()))
    return {
        name: {
            "median_ms": round(statistics.median(own), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(own, base, strict=True)), 2),
        }
        for name, own in times.items()
    }


def main() -> int:
    """Measure and print; return 1 if the face takes more than the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print data for programs")
    options = parser.parse_args()
    found = summary(measure(options.rounds))
    if options.json:
        print(json.dumps({"python": platform.python_version(), "rounds": options.rounds, **found}))
    else:
        load = os.getloadavg()[0]
        print(f"Python {platform.python_version()}, {options.rounds} rounds, load {load:.1f}")
        for name, figures in found.items():
            print(f"{name:30} {figures['median_ms']:7.1f} ms  {figures['ratio']:.2f}x")
    return int(found["every name of the face"]["ratio"] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
