"""Start-up of the command line beside bare Python: wall seconds above it, whole processes."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import arguments, report

COMMANDS = {
    "--help": (["--help"], 150),
    "list": (["list"], 200),
    "plan": (["plan", "product=news"], 500),
}


def main() -> None:
    args = arguments(__doc__ or "", rounds=7)
    script = str(Path(sys.executable).with_name("matrixhub"))
    commands = {"bare python": [sys.executable, "-c", "pass"]}
    commands |= {name: [script, *argv] for name, (argv, _) in COMMANDS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(args.rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:  # the first round fills the file cache
                seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["bare python"])
    rows: list[dict[str, object]] = [
        {"command": "bare python", "ms": bare * 1000, "above it": 0.0, "limit": "-"}
    ]
    for name, (_, limit) in COMMANDS.items():
        took = statistics.median(seconds[name])
        rows.append({"command": name, "ms": took * 1000, "above it": (took - bare) * 1000, "limit": limit})
    report("startup, milliseconds", rows, args.json)


if __name__ == "__main__":
    main()
