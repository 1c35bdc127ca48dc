"""Carry run folders of the first layout (times among the rows of rows.jsonl, pictures in the folder) over to the present one.

    python benchmarks/convert_results.py RESULTS [--to DIR] [--keep-weights-of SEED]

In place, or into copies below DIR. Numbers stay as they are; columns, settings and files get their new names, and times a file of their
own. A run keeps the name of its folder and, marked with "v1:", the digest that it was trained under: it is never resumed, nor taken for
a run of today's code. Pictures and raw times are removed (`gatebench report` draws them; old raw times have no session of their own).

This script stays until the 160-epoch rows that were begun with the old code are in results/.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import yaml

from gatebench.data.images import digest
from gatebench.models.exits.columns import COLUMNS
from gatebench.row import Row, TimeRow
from gatebench.runs import RunFolder

RENAMED = {
    "latency_low": "latency_ms_low", "latency_high": "latency_ms_high", "energy_low": "energy_mj_low", "energy_high": "energy_mj_high",
    "adaptivity_gain_same_weights": "adaptivity_gain",
}  # fmt: skip
SETTINGS = (
    (r"objective\.(exits|budget)\.", r"losses.\1."),
    (r"objective\.terms\.([^=.]+)=", r"losses.\1.weight="),
    (r"objective\.label_smoothing=", "losses.cross_entropy.label_smoothing="),
    (r"evaluation\.exits\.", "study."),
)
"""Beginnings of changed settings, and what stands for them now."""
WITH_EXITS = "cgt"
"""The one model with exits that there was."""
DIGITS = ("mnist", "svhn")
"""Data sets that were not flipped in training."""
LARGE = ("model.safetensors", "decisions.npz", "examples.npz", "inputs.parquet")
SESSION = ("dataset", "machine", "device", "threads", "batch_size", "rival")
"""Columns in which an old session agreed with its rows."""


def convert(folder: RunFolder, keep_large: bool) -> None:
    """Bring a finished run of the old layout to the new one, in place."""
    old = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines() if line]
    points, times = ([row for row in old if ("latency_ms" in row) == timed] for timed in (False, True))
    data = _data(folder.read_json("data.json"))
    adaptive, with_exits = "skip_pct" in points[0], points[0]["model"] == WITH_EXITS
    rows = [_point(row, data["digest"], with_exits) for row in points]
    _write_times(folder, [_time(row, data["digest"], adaptive) for row in times])
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    folder.write_text("recipe.yaml", yaml.safe_dump(_recipe(recipe), sort_keys=False))
    folder.write_json("data.json", data)
    if with_exits:
        folder.write_text("columns.json", json.dumps([column.model_dump(mode="json") for column in COLUMNS], indent=2) + "\n")
    folder.write_rows(rows)
    folder.write_json("summary.json", rows[0])
    for pattern in ("*.png", "latency.csv", "latency.json", *(() if keep_large else LARGE)):
        for path in folder.path.glob(pattern):
            path.unlink()


def _row(old: dict) -> dict:
    row = {RENAMED.get(key, key): value for key, value in old.items()}
    row["digest"] = f"v1:{row['digest']}"
    row["changes"] = [_setting(change) for change in row.get("changes", [])]
    return row


def _point(old: dict, data_digest: str, with_exits: bool) -> dict:
    """A row of rows.jsonl, checked."""
    row = {**_row(old), "adaptive": "skip_pct" in old, "data_digest": data_digest}
    if with_exits and "shares" in row:
        row["share_names"] = [f"exit {number + 1}" for number in range(len(row["shares"]))]
    Row.model_validate(row, strict=True)
    return row


def _time(old: dict, data_digest: str, adaptive: bool) -> dict:
    """A row of times, checked; without scores."""
    scored = "accuracy" in old
    row = {key: value for key, value in _row(old).items() if key in TimeRow.model_fields} | {"adaptive": adaptive, "scored_inputs": scored}
    if scored:
        row["data_digest"] = data_digest
    return TimeRow.model_validate(row, strict=True).model_dump(exclude_none=True)


def _write_times(folder: RunFolder, times: list[dict]) -> None:
    """times/MACHINE-converted.jsonl, and the conditions of its sessions."""
    conditions = folder.read_json("latency.json")["sessions"] if (folder / "latency.json").exists() else []
    broken_off = {tuple(each.get(key) for key in SESSION) for each in conditions if each.get("interrupted")}
    for machine in dict.fromkeys(row["machine"] for row in times):
        slug = re.sub(r"[^\w.]+", "-", machine).strip("-").lower()[:80]
        name = f"times/{slug}-converted"
        rows = [row | {"interrupted": tuple(row.get(key) for key in SESSION) in broken_off} for row in times if row["machine"] == machine]
        sessions = [{key: value for key, value in each.items() if key != "rows"} for each in conditions if each.get("machine") == machine]
        (folder / "times").mkdir(exist_ok=True)
        folder.write_json(f"{name}.json", {"sessions": sessions})
        folder.write_text(f"{name}.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def _data(data: dict) -> dict:
    """data.json with the digest of everything of the data that decides a run's numbers."""
    data = {**data, "mirrors": data["name"] not in DIGITS}
    return {**data, "digest": digest(data)}


def _recipe(old: dict) -> dict:
    """A resolved recipe in the order of today's."""
    before = {key: old[key] for key in ("name", "source", "model", "data")}
    middle = {"losses": _losses(old.get("objective") or {}), "training": old["training"]}
    if (old.get("evaluation") or {}).get("exits"):
        middle["study"] = {"kind": "exits", **old["evaluation"]["exits"]}
    if old.get("parent"):
        middle["parents"] = {"weights": {"config": old["parent"]}}
    if old.get("baseline"):
        middle["baseline"] = old["baseline"]
    changes = [_setting(change) for change in old.get("changes", [])]
    return {**before, **middle, "changes": changes, "scaled_from_epochs": old.get("scaled_from_epochs")}


def _losses(objective: dict) -> dict:
    smoothing = {"label_smoothing": objective["label_smoothing"]} if objective.get("label_smoothing") else {}
    losses = {"exits": objective["exits"] | smoothing} if objective.get("exits") else {"cross_entropy": smoothing}
    if objective.get("budget"):
        losses["budget"] = objective["budget"]
    return losses | {term: {"weight": weight} for term, weight in (objective.get("terms") or {}).items()}


def _setting(change: str) -> str:
    """KEY=VALUE as it is given today."""
    for old, new in SETTINGS:
        change = re.sub(f"^{old}", new, change)
    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("--to", type=Path, metavar="DIR", help="convert copies below DIR")
    parser.add_argument("--keep-weights-of", type=int, metavar="SEED", help=f"remove {', '.join(LARGE)} of other seeds")
    options = parser.parse_args()
    folders = sorted(path.parent for path in options.results.glob("*/summary.json"))
    if not folders:
        parser.error(f"there is no finished run in {options.results}")
    for path in folders:
        row = json.loads((path / "summary.json").read_text())
        if "adaptive" in row:
            print(f"{path.name}: is in the present layout")
            continue
        if options.to:
            path = Path(shutil.copytree(path, options.to / path.name))
        convert(RunFolder(path), keep_large=options.keep_weights_of in (None, row["seed"]))
        print(f"{path.name}: converted")


if __name__ == "__main__":
    main()
