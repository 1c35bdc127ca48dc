"""How long `gatebench pareto` and `gatebench report` take over very many runs, and how much memory.

    python benchmarks/report.py [--runs 1000]

Makes as many copies of one committed run's small files in a temporary folder, each with a recipe, seed, accuracy and MACs of its own and
times on one of two machines, and runs both commands on it as a user would.
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


def make(folder: Path, results: Path, runs: int) -> None:
    """Run folders like the first committed one of a gated network that was timed."""
    draw = random.Random(0)
    timed = next(iter(sorted(results.glob("cosinegate-predictive-*/times/*.jsonl"))))
    source = timed.parents[1]
    (point,), times = _lines(source / "rows.jsonl"), _lines(timed)
    others = {name: (source / name).read_bytes() for name in ("recipe.yaml", "epochs.csv", "machine.json")}
    for number in range(runs):
        accuracy, share = draw.uniform(80, 95), draw.uniform(0.3, 1.0)
        same = {"recipe": f"made-{number // 4}", "digest": f"{number // 4:08x}", "seed": number % 4}
        scores = {"accuracy": accuracy, "accuracy_low": accuracy - 0.6, "accuracy_high": accuracy + 0.6}
        row = point | same | scores | {"macs_executed": share * point["macs_dense"], "macs_ratio": share}
        latency = {"latency_ms": 2 * share, "latency_ms_low": 1.9 * share, "latency_ms_high": 2.1 * share}
        path = folder / f"run-{number}"
        (path / "times").mkdir(parents=True)
        (path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        (path / "summary.json").write_text(json.dumps(row))
        made = [each | same | latency | {"machine": f"machine {number % 2}"} for each in times]
        (path / "times" / timed.name).write_text("".join(json.dumps(each) + "\n" for each in made))
        for name, content in others.items():
            (path / name).write_bytes(content)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(*arguments: str) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gatebench", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--like", type=Path, default=RESULTS, metavar="RESULTS", help="the results whose run is copied")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.like, options.runs)
        for command in ("pareto", "report"):
            seconds = sorted(measure(command, folder) for _ in range(3))
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"{command} over {options.runs:,} runs: {seconds[1]:.2f} s (median of three), at most {peak:.0f} MB")


if __name__ == "__main__":
    main()
