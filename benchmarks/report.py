"""How long `gatebench pareto` and `gatebench report` take over very many runs, and how much memory.

    python benchmarks/report.py [--runs 1000]

Copies one committed run's small files so often, each with a recipe, seed, accuracy and MACs of its own and times on one of two machines,
into a temporary folder, and runs both commands on it as a user would.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def make(folder: Path, runs: int) -> None:
    """Run folders like the first committed one of a gated network that was timed."""
    draw = random.Random(0)
    source = next(path.parent for path in sorted(RESULTS.glob("cosinegate-predictive-*/latency.json")))
    rows = [json.loads(line) for line in (source / "rows.jsonl").read_text().splitlines()]
    others = {name: (source / name).read_bytes() for name in ("recipe.yaml", "epochs.csv", "machine.json")}
    for number in range(runs):
        accuracy, share = draw.uniform(80, 95), draw.uniform(0.3, 1.0)
        same = {
            "recipe": f"made-{number // 4}", "digest": f"{number // 4:08x}", "seed": number % 4, "accuracy": accuracy,
            "accuracy_low": accuracy - 0.6, "accuracy_high": accuracy + 0.6,
        }  # fmt: skip
        changed = [row | same for row in rows]
        changed[0]["macs_executed"], changed[0]["macs_ratio"] = share * changed[0]["macs_dense"], share
        for row in changed[1:]:
            row |= {"machine": f"machine {number % 2}", "latency_ms": 2 * share, "latency_low": 1.9 * share, "latency_high": 2.1 * share}
        path = folder / f"run-{number}"
        path.mkdir()
        (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
        (path / "summary.json").write_text(json.dumps(changed[0]))
        for name, content in others.items():
            (path / name).write_bytes(content)


def measure(*arguments: str) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gatebench", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.runs)
        for command in ("pareto", "report"):
            seconds = sorted(measure(command, folder) for _ in range(3))
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"{command} over {options.runs:,} runs: {seconds[1]:.2f} s (median of three), at most {peak:.0f} MB")


if __name__ == "__main__":
    main()
