"""Copy every finished run and every pool of a folder to where they are committed.

    python benchmarks/publish.py RESULTS [TO=results]

Of a run stay behind: what only going on needs, raw times and locks; for every seed but 0 weights, decisions, thumbnails and the table of
inputs (`gatebench.results.publish`); weights of 2 MB and more. Of experts in a pool, and of what routes between them, also all weights,
thumbnails and tables of inputs: the pool has what the experts answer. Sweeps' tables and pictures are copied too. Runs that are not
finished are named and left out.
"""

import argparse
import shutil
from pathlib import Path

from gatebench.results import publish
from gatebench.runs import RunFolder

MOST_BYTES = 2_000_000
"""Of weights."""
IN_POOL = ("model.safetensors", "examples.npz", "inputs.parquet")
"""Files of which the pool takes the place."""


def publish_all(results: Path, to: Path) -> list[str]:
    """Publish what is finished below `results`; returns the names of runs that are not. Raises GatebenchError for a damaged one."""
    pools = [RunFolder(path.parent) for path in sorted(results.glob("pool-*/pool.json"))]
    experts = {name for pool in pools for name in pool.read_json("pool.json", "members")["members"].values()}
    unfinished = []
    for folder in (RunFolder(path.parent) for path in sorted(results.glob("*/recipe.yaml"))):
        if not folder.finished:
            unfinished.append(folder.path.name)
            continue
        copy = publish(folder, to)
        if (weights := copy / "model.safetensors").exists() and weights.stat().st_size >= MOST_BYTES:
            weights.unlink()
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
    arguments = parser.parse_args()
    for name in publish_all(arguments.results, arguments.to):
        print(f"not finished, left out: {name}")
