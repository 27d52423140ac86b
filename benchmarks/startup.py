"""Time of `import hybridrank` and `hybridrank --help` beyond a bare interpreter; medians, in seconds.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

RUNS = 15
COMMANDS = {
    "bare interpreter": [sys.executable, "-c", "pass"],
    "import hybridrank": [sys.executable, "-c", "import hybridrank"],
    "from hybridrank import Pipeline": [sys.executable, "-c", "from hybridrank import Pipeline"],
    "hybridrank --help": [str(Path(sys.executable).with_name("hybridrank")), "--help"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(RUNS + 1):  # the first warms the file cache
        for name, command in COMMANDS.items():
            started = perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if run:
                seconds[name].append(perf_counter() - started)
    bare = median(seconds["bare interpreter"])
    for name, taken in seconds.items():
        print(f"{name:34}{median(taken):>7.3f} s   on top of bare: {median(taken) - bare:>6.3f} s")


if __name__ == "__main__":
    main()
