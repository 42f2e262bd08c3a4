"""Start-up of the command line beside bare Python: wall seconds above it, whole processes.

The last line is ``list`` with fifty more plugins installed, and what these cost above ``list`` without them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import arguments, report

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the plugins that tests make up
from tests.fixture_plugin.fake import write_plugin

COMMANDS = {
    "--help": (["--help"], 150),
    "list": (["list"], 200),
    "plan": (["plan", "product=news"], 500),
}
NUM_PLUGINS = 50
MANY = f"list, {NUM_PLUGINS} more plugins"


def main() -> None:
    args = arguments(__doc__ or "", rounds=7)
    script = str(Path(sys.executable).with_name("matrixhub"))
    commands = {"bare python": [sys.executable, "-c", "pass"]}
    commands |= {name: [script, *argv] for name, (argv, _) in COMMANDS.items()}
    commands |= {MANY: [script, "list"]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as site:
        for i in range(NUM_PLUGINS):
            write_plugin(Path(site), f"many{i}")
        for turn in range(args.rounds + 1):
            for name, command in commands.items():
                environment = {**os.environ, "PYTHONPATH": site} if name == MANY else None
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                if turn:  # the first round fills the file cache
                    seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["bare python"])
    rows: list[dict[str, object]] = [
        {"command": "bare python", "ms": bare * 1000, "above it": 0.0, "limit": "-"}
    ]
    for name, (_, limit) in COMMANDS.items():
        took = statistics.median(seconds[name])
        rows.append({"command": name, "ms": took * 1000, "above it": (took - bare) * 1000, "limit": limit})
    more = (statistics.median(seconds[MANY]) - statistics.median(seconds["list"])) * 1000
    rows.append(
        {"command": MANY, "ms": statistics.median(seconds[MANY]) * 1000, "above it": more, "limit": 50}
    )
    report("startup, milliseconds", rows, args.json)


if __name__ == "__main__":
    main()
