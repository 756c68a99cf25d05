"""From the start of the process to the answer of ``visavis compare``, beside its two imports.

::

    python benchmarks/cold_start.py

The networks' graphs are prepared and cached beforehand, as on any visit but the very first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from peers import photographs
from timing import interleaved, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    command = Path(sys.executable).with_name("visavis")
    with tempfile.TemporaryDirectory() as folder:
        a, b = photographs(Path(folder))

        def run(*words: object) -> None:
            subprocess.run([*map(str, words)], check=True, capture_output=True)

        works = {
            "visavis compare": lambda: run(command, "compare", a, b),
            "import openvino, cv2": lambda: run(sys.executable, "-c", "import openvino, cv2"),
            "visavis --help": lambda: run(command, "--help"),
        }
        taken = interleaved(works, wanted.rounds, warmup=1)
    print(
        json.dumps(
            {
                "milliseconds": {name: round(median(ms)) for name, ms in taken.items()},
                "compare / imports": round(
                    ratio(taken, "visavis compare", "import openvino, cv2"), 2
                ),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
