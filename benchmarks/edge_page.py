"""The tables of results/edge.md: gated networks and their static twins in every runtime, and what their files take.

Reads results/edge/RUN/times/, which `profile-latency --runtime ... --out results/edge` wrote of runs in results/, or of such as were
trained for this page alone and lie in results/edge/RUN themselves; and results/benchmarks/edge.csv (benchmarks/edge.py).
"""

from dataclasses import replace

import pandas as pd
from pages import Parts

from gatebench.report.quantities import estimate
from gatebench.report.results import Run, read_runs
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet
from gatebench.row import TimeRow
from gatebench.rows import read_rows

NAMES = {
    "cosinegate": "block gates", "when-unsure": "block gates, when-unsure", "skipnet": "block gates, SkipNet",
    "convnet-aig": "block gates, ConvNet-AIG", "cgt": "early exits", "router": "router", "lag-compact": "channels cut out",
}  # fmt: skip
"""Of models, in the order of the page."""
TIMES = (
    Heading("network", "network"), Heading("runtime", "runtime"),
    Heading("timed_saving_pct", "MACs saved", "%", 1), Heading("rival_ms", "twin, ms", digits=3),
    Heading("latency_ms", "gated, ms", digits=3), Heading("speedup", "speed-up", digits=2), Heading("realised", "realised", digits=2),
    Heading("all_on", "all on, over twin", digits=3), Heading("speedup_fastest", "over the twin in its fastest", digits=2),
)  # fmt: skip
MACHINE = Heading("machine", "timed on")
COMPARED = "speedup", "realised", "all_on", "speedup_fastest"
"""Columns with intervals."""
BF16 = tuple(heading for heading in TIMES if heading.name not in ("timed_saving_pct", "realised", "all_on"))
"""Of what was timed in bf16, too."""
SIZES = (
    Heading("network", "network"), Heading("runtime", "runtime"),
    *(Heading(f"{key}_{kind}", f"{text}, {kind}", unit, digits) for key, text, unit, digits in (
        ("files_mb", "files", "MB", 1), ("memory_mb", "memory", "MB", 0))
        for kind in ("twin", "gated")),
    Heading("first_answer_ms_gated", "first answer", "ms", 0), Heading("accuracy_gated", "accuracy", "%", 2),
)  # fmt: skip


def sessions(runs: list[Run]) -> list[tuple[Run, list[dict]]]:
    """Of each run those in which it was timed in several runtimes, the oldest first."""
    home, made = runs[0].folder.path.parent / "edge", []
    for run in [*runs, *(read_runs(home)[0] if home.is_dir() else ())]:
        timed = [read_rows(path, TimeRow) for path in (home / run.name / "times").glob("*.jsonl")]
        made += [(run, members) for members in sorted(timed, key=lambda members: members[0]["when"])]
    return sorted(made, key=lambda item: (list(NAMES).index(item[0].headline["model"]), item[0].headline.get("macs_dense", 0)))


def newest(runs: list[Run]) -> list[tuple[Run, list[dict]]]:
    """The last session of each run, which the page shows; of channels cut out, of the network with most MACs."""
    key = {run.name: NAMES[model] if (model := run.headline["model"]) == "lag-compact" else run.name for run, _ in sessions(runs)}
    return list({key[run.name]: (run, members) for run, members in sessions(runs)}.values())


def with_bf16(runs: list[Run]) -> list[tuple[Run, list[dict]]]:
    """The last session of each run on a machine that computes in bf16, where that is not the newest."""
    shown = [members for _, members in newest(runs)]
    able = [(run, members) for run, members in sessions(runs) if any("bf16" in row["runtime"] for row in members) and members not in shown]
    return list({run.name: (run, members) for run, members in able}.values())


def name(run: Run) -> str:
    """In words, with the depth, or recipe and other widths than its own, where several would share it."""
    model, depth = run.headline["model"], run.setting("model.depth")
    if model == "lag-compact":
        width = [each.partition("=")[2] for each in run.setting("parents.gated.changes") or () if each.startswith("model.width=")]
        return f"{NAMES[model]}, width {(*width, 1)[0]}"
    changed = [each.partition("=")[2].strip("[]") for each in run.headline.get("changes", ()) if "widths=" in each]
    widths = "".join(f", widths {each.replace(' ', '').replace(',', '-')}" for each in changed)
    return NAMES[model] + (f", {run.headline['recipe']}{widths}" if model == "cgt" else f", ResNet-{depth}" if depth else "")


def times(members: list[tuple[Run, list[dict]]], headings: tuple[Heading, ...] = TIMES) -> Sheet:
    """A line for each network and runtime."""
    lines = [
        [
            name(run) if key == "network" else estimate(row, key) if key in COMPARED else row.get(key)
            for key in (each.name for each in headings)
        ]
        for run, rows in members
        for row in rows
    ]
    return make_sheet("edge", "Gated and static in every runtime", headings, lines)


def sizes(runs: list[Run], table: pd.DataFrame) -> Sheet:
    lines = []
    for run, _ in newest(runs):
        own = table[table["run"] == run.name]
        for (runtime, precision), members in own.groupby(["runtime", "precision"], sort=False):
            kinds = members.set_index("network")
            twin, itself = ("static", "gated") if "gated" in kinds.index else (None, "static")  # one that decides nothing has none here
            values = [kinds[key].get(kind) for key in ("files_mb", "memory_mb") for kind in (twin, itself)]
            values += [kinds[key].get(itself) for key in ("first_answer_ms", "accuracy")]
            lines.append((name(run), runtime if precision == "fp32" else f"{runtime}, {precision}", *values))
    return make_sheet("edge-sizes", "What the files take", SIZES, lines)


def file_sizes(runs: list[Run]) -> dict[str, Sheet]:
    """`sizes` by its place, where they were measured."""
    path = runs[0].folder.path.parent / "benchmarks" / "edge.csv"
    return {"sizes": sizes(runs, pd.read_csv(path))} if path.is_file() else {}


def tables(runs: list[Run]) -> Parts:
    """What the page shows: networks and what they are compared with, in runtimes for devices."""
    shown = newest(runs)
    twinless = {name(run) for run, members in shown if "rival" not in members[0]}
    made = {"runtimes": times(shown), "bf16": times(with_bf16(runs), BF16), **file_sizes(runs)}
    return {key: replace(sheet, lines=[line for line in sheet.lines if _for_devices(key, line, twinless)]) for key, sheet in made.items()}


def _for_devices(table: str, line: tuple[Cell, ...], twinless: set[str]) -> bool:
    """Whether a line is shown. ONNX Runtime in int8, and OpenVINO's files in fp32 and bf16, are in the full table."""
    network, runtime = line[0].value, str(line[1].value)
    if network in twinless or runtime in ("torch", "compile"):
        return False
    if table == "bf16":
        return runtime in ("openvino, bf16", "openvino, int8")
    return runtime in ("onnxruntime", "openvino, int8") or (table == "runtimes" and runtime == "openvino")


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """All sessions."""
    return {"edge": [times(sessions(runs), (*TIMES, MACHINE)), *file_sizes(runs).values()]}
