"""Say of finished runs what deciding per input is worth, and how much of it the input explains, from the weights that were kept.

    python benchmarks/rescore.py RESULTS --data-dir DATA [--weights-from FOLDER ...] [--only RUN ...] [--device cuda]

The columns are `adaptivity_gain` to `difficulty_correlation`. For finished runs that `gatebench train` given again leaves as they are:
those of earlier versions, whose rows lack some of them, and those of another machine, as in results/. Nothing else of their rows changes.
Weights are those in the run's folder, or in a folder of the same name below one of `--weights-from`, where recipe.yaml and the row's digest
of the weights are the same. A row is left as it is where the weights do not give its accuracy here, up to `POINTS` (other processors round
otherwise), or its executed MACs, up to `MACS`.
"""

import argparse
import hashlib
import json
import math
from pathlib import Path

import torch
from rich.console import Console

from gatebench.data.catalogue import load
from gatebench.device import choose_device
from gatebench.evaluation.outcome import collect
from gatebench.evaluation.row import ADAPTIVITY, EXPLAINED
from gatebench.outputs import scoring_batches
from gatebench.runs import RunFolder
from gatebench.stages import add_adaptivity
from gatebench.trained import load_run
from gatebench.training.view import View

WORTH = ADAPTIVITY + EXPLAINED
POINTS = 0.1
"""Of accuracy."""
MACS = 0.002
"""Share of the executed MACs."""


def rows_of(folder: RunFolder) -> list[dict]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def with_weights(folder: RunFolder, others: list[Path]) -> RunFolder | None:
    """The folder that has the run's weights; None where there is none."""
    wanted = rows_of(folder)[0].get("weights", "")
    for each in (folder, *(RunFolder(other / folder.path.name) for other in others)):
        weights = each / "model.safetensors"
        if not weights.exists() or (each / "recipe.yaml").read_bytes() != (folder / "recipe.yaml").read_bytes():
            continue
        if hashlib.sha256(weights.read_bytes()).hexdigest().startswith(wanted):
            return each
    return None


def scored_today(folder: RunFolder, rows: list[dict], root: Path, device: torch.device) -> list[dict]:
    """The run's operating points, not by severity, as they are scored here and now."""
    model, recipe, _ = load_run(folder, chosen=False)
    dataset, headline = load(recipe.data, root), {key: value for key, value in rows[0].items() if key not in WORTH}
    model.to(device, memory_format=torch.channels_last)
    scored = scoring_batches(model, dataset.test, device)
    validation = scoring_batches(model, dataset.validation, device) if dataset.validation else None
    view = View(Console(stderr=True), folder.path.name)
    if not recipe.study:
        outcome = collect(model, scored, headline["precision"])
        today = [headline | {"accuracy": outcome.accuracy, "macs_executed": float(outcome.executed.mean())}]
        add_adaptivity(model, dataset, scored, today, [outcome], view)
        return today
    study = recipe.study.run(model, validation, scored, headline["precision"])
    today = study.rows(headline)
    if study.outcomes:  # study.rows takes the headline's own numbers from the run
        today[0] |= {"accuracy": study.outcomes[0].accuracy, "macs_executed": float(study.outcomes[0].executed.mean())}
    add_adaptivity(model, dataset, scored, today, study.outcomes, view)
    return today


def same_point(old: dict, new: dict) -> bool:
    return all(old.get(name) == new.get(name) for name in ("policy", "tradeoff", "severity", "reference"))


def rescore(folder: RunFolder, others: list[Path], root: Path, device: torch.device) -> str:
    """Add the columns to the rows of a run; returns what was done."""
    rows, kept = rows_of(folder), with_weights(folder, others)
    if kept is None:
        return "no weights"
    added, refused = 0, []
    for new in scored_today(kept, rows, root, device):
        columns = {name: new[name] for name in WORTH if name in new}
        for old in rows:
            if not columns or not same_point(old, new):
                continue
            agrees = math.isclose(old["accuracy"], new["accuracy"], abs_tol=POINTS)
            if agrees and math.isclose(old["macs_executed"], new["macs_executed"], rel_tol=MACS):
                old |= columns
                added += 1
            else:
                refused.append(f"{old.get('policy', 'its row')}: {new['accuracy']:.2f} % here, {old['accuracy']:.2f} % there")
    if added:
        folder.write_rows(rows)
        folder.write_json("summary.json", rows[0])
    said = ["{policy} {adaptivity_gain:+.2f} ({adaptivity_gain_low:+.2f} to {adaptivity_gain_high:+.2f})".format(**{"policy": "", **row})
            for row in rows if "adaptivity_gain_low" in row]  # fmt: skip
    return "; ".join([f"{added} of {len(rows)} rows", *map(str.strip, said[:3]), *refused])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--weights-from", type=Path, nargs="+", default=[])
    parser.add_argument("--only", nargs="+", help="names of runs, or their beginnings")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    device = choose_device(options.device)
    torch.set_num_threads(1)
    for path in sorted(options.results.glob("*/summary.json")):
        folder = RunFolder(path.parent)
        wanted = not options.only or folder.path.name.startswith(tuple(options.only))
        if wanted and json.loads(path.read_text()).get("adaptive"):
            print(f"{folder.path.name}: {rescore(folder, options.weights_from, options.data_dir, device)}", flush=True)


if __name__ == "__main__":
    main()
