"""What each exit of the committed runs gets by itself, beside that of the trainings that a recipe is to beat.

    python benchmarks/exits.py

Accuracy (%) on the test set where every input leaves at one exit (`anytime` in exits.csv), of each seed, and the mean of the differences
within a seed, in points, with Student's 95 % interval.
"""

import statistics
from collections import defaultdict
from pathlib import Path

import pandas as pd
import yaml

from gatebench.report.quantities import over_seeds

RESULTS = Path(__file__).parents[1] / "results"


def read(results: Path, dataset: str) -> tuple[dict[str, dict[int, list[float]]], dict[str, list[str]]]:
    """Accuracy of each exit by recipe and seed, and each recipe's baselines."""
    alone, baselines = defaultdict(dict), {}
    for path in sorted(results.glob(f"cgt-*-{dataset}-s*/exits.csv")):
        recipe, curves = yaml.safe_load((path.parent / "recipe.yaml").read_text()), pd.read_csv(path)
        name, seed = recipe["name"], int(path.parent.name.rsplit("-s", 1)[1].split("-")[0])
        alone[name][seed] = curves.loc[curves["curve"] == "anytime", "accuracy"].tolist()
        named = recipe.get("baseline", [])
        baselines[name] = [named] if isinstance(named, str) else named
    return alone, baselines


def main() -> None:
    alone, baselines = read(RESULTS, "fashion-mnist")
    for name, seeds in alone.items():
        print(f"{name}: " + "; ".join(f"seed {seed} " + " / ".join(f"{each:.2f}" for each in exits) for seed, exits in seeds.items()))
        for rival in baselines[name]:
            pairs = [list(zip(seeds[seed], alone[rival][seed], strict=True)) for seed in sorted(seeds.keys() & alone[rival].keys())]
            for number, of_seeds in enumerate(zip(*pairs, strict=True), start=1):
                apart = [one - other for one, other in of_seeds]
                each = ", ".join(f"{value:+.2f}" for value in apart)
                low, high = over_seeds(apart)
                print(f"    over {rival}, exit {number}: {statistics.mean(apart):+.2f} ({low:+.2f} to {high:+.2f}); {each}")


if __name__ == "__main__":
    main()
