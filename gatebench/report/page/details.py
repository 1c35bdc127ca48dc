"""What the page shows of one run when its line is opened."""

import contextlib
import shlex
from collections.abc import Sequence

from ...foreign import plain, read_text
from .. import verdict
from ..results import Run, is_masked, same_point
from .board import Entry, machine_of
from .examples import read_examples
from .numbers import rounded

PICTURED = 20
"""Runs whose images are within the page; those of others are beside it."""
MOST_CHARACTERS = 450_000
"""Of all details together; what comes later has its name, command and pictures alone."""
MOST_GROUPS = 24
"""Classes of a run: those with most work, and with least."""
MOST_UNITS = 60
MOST_LINES = 150
"""Of a recipe."""


def details(board: Sequence[Entry], run_pictures: dict[str, dict[str, str]]) -> tuple[list[dict], list[str], dict[str, int]]:
    """Of every run on the board, the best first; the recipes, which runs share; the place of each run by its name."""
    made: list[dict] = []
    recipes: dict[str, int] = {}
    numbers: dict[str, int] = {}
    spent = pictured = 0
    for run in (run for entry in board for run in entry.group.runs):
        if run.name in numbers:
            continue
        numbers[run.name] = len(made)
        detail = {"name": run.name, "command": command(run.headline), "files": run_pictures.get(run.name, {})}
        if spent < MOST_CHARACTERS:
            recipe = _recipe(run)
            spent += 0 if recipe in recipes else len(recipe)
            detail |= _content(run) | {"recipe": recipes.setdefault(recipe, len(recipes))}
            spent += sum(len(str(value)) for value in detail.values())
        if pictured < PICTURED and (examples := read_examples(run)):
            pictured += 1
            detail["examples"] = {"strip": examples.strip(), "labels": examples.labels}
        made.append({key: value for key, value in detail.items() if value not in (None, "", [], {})})
    return made, list(recipes), numbers


def command(row: dict) -> str:
    """That makes the run again, of what its row says."""
    changes = row.get("changes", [])
    dataset = next((each.partition("=")[2] for each in changes if each.startswith("data.name=")), None)
    parts = ["gatebench", "train", row["model"], "--config", row["recipe"]]
    parts += ["--dataset", dataset] if dataset else []
    parts += ["--epochs", str(row["epochs"])] if row["epochs"] != row.get("recipe_epochs", row["epochs"]) else []
    for change in changes:
        parts += [] if change.startswith("data.name=") else ["--set", change]
    parts += ["--seed", str(row["seed"])]
    parts += ["--threads", str(row["threads"])] if "threads" in row else []
    return plain(" ".join(map(shlex.quote, parts)))


def _content(run: Run) -> dict:
    lines = run.breakdown
    classes = [line for line in map(_group, lines) if line and line[0] == "class"]
    if len(classes) > MOST_GROUPS:
        classes.sort(key=lambda line: -line[4])
        classes = [*classes[: MOST_GROUPS // 2], *classes[-MOST_GROUPS // 2 :]]
    return {
        "said": _sentences(run),
        "facts": _facts(run),
        "classes": [line[1:] for line in classes],
        "difficulty": [line[1:] for line in map(_group, lines) if line and line[0] in ("difficulty", "severity")],
        "by": next((line["by"] for line in lines if line["by"] in ("difficulty", "severity")), ""),
        "units": [[plain(line["group"]), rounded(line["mean_gate_hard"])]
                  for line in lines if line["by"] == "unit" and "mean_gate_hard" in line][:MOST_UNITS],
        "times": [_times(row) for row in sorted(run.joined_times, key=lambda row: row["batch_size"]) if not is_masked(row)],
        "audit": [plain(finding) for finding in run.headline.get("audit", ())],
        "shares": [[plain(name), rounded(share)] for name, share in
                   zip(run.headline.get("share_names", ()), run.headline.get("shares", ()), strict=False)],
    }  # fmt: skip


def _sentences(run: Run) -> list[str]:
    """Of its times, one input at a time; of a run without times, of its training."""
    rows = [row for row in run.joined_times if row["batch_size"] == 1 and not is_masked(row)]
    made = [lambda row=row: verdict.timed({**_gain(run, row), **row}) for row in rows]
    made = made or [lambda: verdict.trained(run.headline, run.breakdown)]
    said = []
    for make in made:
        with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):  # columns that no row has to have
            said.append(plain(make()))
    return said


def _gain(run: Run, row: dict) -> dict:
    """Of the operating point that was timed."""
    return next((verdict.gain_of(point) for point in run.points if same_point(point, row)), {})


def _facts(run: Run) -> list[list[str]]:
    row = run.headline
    facts = [
        ["accuracy", f"{row['accuracy']:.2f} % ({row['accuracy_low']:.2f} to {row['accuracy_high']:.2f})"],
        ["executed MACs", f"{row['macs_executed'] / 1e6:.2f} M" + (f" of {row['macs_dense'] / 1e6:.2f} M" if "macs_dense" in row else "")],
        ["claimed saving", f"{row['skip_pct']:.1f} %" if "skip_pct" in row and row["adaptive"] else ""],
        ["weights", f"{row['params']:,}" if "params" in row else ""],
        ["trained", f"{row['epochs']} epochs" + (f", {row['schedule']}" if "schedule" in row else "")],
        ["decides", row.get("policy", "")],
        ["scored on", f"{row['dataset']}, {row['split']}, {row.get('precision', '')}".rstrip(", ")],
        ["machine", row.get("machine", "")],
    ]  # fmt: skip
    return [[name, plain(text)] for name, text in facts if text]


def _times(row: dict) -> dict:
    """One timing: where, its quantiles over inputs where they were kept, and what it is compared with."""
    keys = ("latency_ms", "latency_p50", "latency_p90", "latency_p99", "rival_ms")
    made = {"machine": machine_of(row), "batch": row["batch_size"], **{key: rounded(row[key]) for key in keys if key in row}}
    for key in ("latency_quantiles_ms", "rival_quantiles_ms"):
        if isinstance(row.get(key), list):
            made[key] = [rounded(each) for each in row[key]]
    return made | {"over": plain(row["rival"])} if "rival" in row else made


def _group(line: dict) -> list | None:
    """What kind of group, its name, inputs, accuracy, executed MACs in millions; None where a number is missing."""
    numbers = [line.get(key) for key in ("inputs", "accuracy", "macs_executed")]
    if line["by"] not in ("class", "difficulty", "severity") or None in numbers:
        return None
    inputs, accuracy, macs = numbers
    return [line["by"], plain(line["group"]), rounded(inputs), rounded(accuracy), rounded(macs / 1e6)]


def _recipe(run: Run) -> str:
    return "\n".join(map(plain, run.read("recipe.yaml", read_text, "").splitlines()[:MOST_LINES]))
