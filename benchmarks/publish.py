"""Copy every finished run and every pool of a folder to where they are committed.

    python benchmarks/publish.py RESULTS [TO=results] [--with-inputs RUN ...]

Of a run stay behind: what only going on needs, raw times and locks; for every seed but 0, and where the weights take 1.5 MB and more,
weights, decisions of more than 20 KB, thumbnails and the table of inputs (`gatebench.results.publish`); of runs named with --with-inputs
only such weights; of networks that decide nothing, thumbnails. Of experts in a pool, and of what routes between them, also all weights,
thumbnails and tables of inputs: the pool has what the experts answer. Sweeps' tables and pictures are copied too. Runs that are not
finished are named and left out.
"""

import argparse
import shutil
from collections.abc import Collection
from pathlib import Path

from gatebench.results import publish
from gatebench.runs import RunFolder

MOST_BYTES = 1_500_000
"""Of weights that are published."""
IN_POOL = ("model.safetensors", "examples.npz", "inputs.parquet")
"""Files of which the pool takes the place."""


def publish_all(results: Path, to: Path, with_inputs: Collection[str] = ()) -> list[str]:
    """Publish what is finished below `results`, the runs named in `with_inputs` with all but heavy weights.

    Returns the names of runs that are not finished. Raises GatebenchError for a damaged one.
    """
    pools = [RunFolder(path.parent) for path in sorted(results.glob("pool-*/pool.json"))]
    experts = {name for pool in pools for name in pool.read_json("pool.json", "members")["members"].values()}
    unfinished = []
    for folder in (RunFolder(path.parent) for path in sorted(results.glob("*/recipe.yaml"))):
        if not folder.finished:
            unfinished.append(folder.path.name)
            continue
        weights = folder / "model.safetensors"
        light = weights.exists() and weights.stat().st_size < MOST_BYTES
        copy = publish(folder, to, folder.path.name in with_inputs or (None if light else False))
        if not light:
            copy.remove("model.safetensors")
        if not folder.read_json("summary.json", "adaptive")["adaptive"]:
            copy.remove("examples.npz")
        parents = folder.read_json("identity.json", "parents")["parents"].values()
        if folder.path.name in experts or experts.intersection(parents):
            copy.remove(*IN_POOL)
    for pool in pools:
        (to / pool.path.name).mkdir(parents=True, exist_ok=True)
        for path in (pool / "pool.json", *pool.path.glob("*.parquet")):
            shutil.copyfile(path, to / pool.path.name / path.name)
    for path in (*results.glob("sweep-*.csv"), *results.glob("sweep-*.png")):
        shutil.copyfile(path, to / path.name)
    return unfinished


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("to", type=Path, nargs="?", default=Path(__file__).parents[1] / "results")
    parser.add_argument("--with-inputs", nargs="+", default=(), metavar="RUN")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.with_inputs if not (arguments.results / name / "recipe.yaml").is_file()]
    if unknown:
        parser.error(f"--with-inputs: there is no run {', '.join(unknown)} in {arguments.results}")
    for name in publish_all(arguments.results, arguments.to, arguments.with_inputs):
        print(f"not finished, left out: {name}")
