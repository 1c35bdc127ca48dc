"""Pages of results/: each table stands between `<!-- table: NAME -->` and `<!-- end -->`; all there is goes to tables/ as CSV."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from gatebench.report.claims import point_sheets, realised_sheets, seeds_cell
from gatebench.report.flat import Flat
from gatebench.report.formats import escaped, to_csv
from gatebench.report.groups import Group, groups
from gatebench.report.quantities import interval, mean, spread
from gatebench.report.results import Run, same_point
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet

PART = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end -->)", re.S)
Parts = Mapping[str, Sheet | str]
"""Tables and sentences of a page by the name of their place."""
BATCHES = 1, 64
SAVINGS = (
    Heading("network", "network"), Heading("dataset", "data"), Heading("seeds", "seeds"), Heading("policy", "gates run"),
    Heading("accuracy", "accuracy", "%", 2), Heading("macs_executed", "executed", "MACs", 2),
    Heading("claimed_pct", "claimed saving", "%", 1), Heading("saved_pct", "executed saving", "%", 1),
    Heading("latency_ms", "ms, batch 1", digits=2), *(Heading(f"speedup_{size}", f"speed-up, batch {size}", digits=2) for size in BATCHES),
    Heading("adaptivity_gain", "adaptivity gain", "points", 2, signed=True),
)  # fmt: skip


def with_tables(text: str, parts: Parts) -> str:
    """The page's text with these tables in their places. Raises KeyError for a place of no table, ValueError for a table of no place."""
    missing = parts.keys() - {part[2] for part in PART.finditer(text)}
    if missing:
        raise ValueError(f"the page has no place for {', '.join(sorted(missing))}; write `<!-- table: NAME -->` and `<!-- end -->` where")
    return PART.sub(lambda part: f"{part[1]}\n{markdown(parts[part[2]])}\n\n{part[3]}", text)


def markdown(part: Sheet | str) -> str:
    """A table with its note, or a sentence as it is."""
    if isinstance(part, str):
        return part
    head, *rows = ["| " + " | ".join(map(escaped, cells)) + " |" for cells in ([each.shown for each in part.headings], *part.texts)]
    return "\n".join([head, "|" + "---|" * len(part.headings), *rows]) + (f"\n\n{escaped(part.note)}" if part.note else "")


def together(sheets: Iterable[Sheet]) -> Flat:
    """Several tables as one for programs: the title of each in a column, and all that they hold."""
    sheets = list(sheets)
    columns = {"table": ""} | {name: unit for sheet in sheets for name, unit in sheet.columns.items()}
    return Flat(columns, [{"table": sheet.title} | record for sheet in sheets for record in sheet.records])


def write_tables(folder: Path, tables: Mapping[str, Iterable[Sheet]]) -> None:
    """FOLDER/NAME.csv of each; what else is there of that kind goes."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.csv"):
        if old.stem not in tables:
            old.unlink()
    for name, sheets in tables.items():
        (folder / f"{name}.csv").write_text(to_csv(together(sheets)))


def usual_tables(name: str, runs: list[Run]) -> dict[str, list[Sheet]]:
    """Of every page: all operating points and all times of its runs."""
    return {f"{name}-points": point_sheets(groups(runs)), f"{name}-times": realised_sheets(runs)}


def short_name(group: Group) -> str:
    """Model and recipe."""
    return f"{group.row['model']} {group.row['recipe']}".removesuffix(" default")


def savings(members: Iterable[Group], name=short_name, claimed: str = "skip_pct", policies: bool = False) -> Sheet:
    """Claimed, executed and realised: a line for each network. Data are named where they differ."""
    members = list(members)
    several = len({group.row["dataset"] for group in members}) > 1
    lines = []
    for group in members:
        at = {size: timed(group, size) for size in BATCHES}
        gated = group.row["adaptive"]
        lines.append((
            name(group), group.row["dataset"] if several else None, seeds_cell(group.seeds), group.row.get("policy") if policies else None,
            short(spread(group, "accuracy")), mean(group, "macs_executed"),
            *((mean(group, key) for key in (claimed, "saved_pct")) if gated else (None, None)),
            mean_ms(at[1]), *(compared(each, "speedup") for each in at.values()), compared(group, "adaptivity_gain"),
        ))  # fmt: skip
    return make_sheet("savings", "Claimed, executed, realised", SAVINGS, lines)


def timed(group: Group, batch_size: int) -> Group:
    """Times of the group's operating point where they were taken; of masked execution none."""
    pairs = [(run, times) for run, row in zip(group.runs, group.rows, strict=True) for times in run.joined_times
             if times["batch_size"] == batch_size and times["execution"] != "masked" and same_point(times, row)]  # fmt: skip
    return Group([run for run, _ in pairs], [times for _, times in pairs])


def mean_ms(group: Group) -> Cell:
    value = mean(group, "latency_ms") if group.rows else None
    return Cell(value, digits=2 if value is None or value >= 1 else 3)


def compared(group: Group, key: str) -> Cell:
    """Mean over seeds, and the interval by which networks are compared."""
    value = mean(group, key) if group.rows else None
    return Cell() if value is None else short(Cell(value, *(interval(group, key) or ())))


def beside(sheets: Iterable[Sheet], quantities: Mapping[str, str], only=lambda network: True, networks: bool = True) -> Sheet:
    """Tables of `report/comparison.py`, a line for each network of ours: printed, ours and the difference side by side, then what keeps
    them from comparing. `quantities`: name of a column -> what it is. What compares alike everywhere is said in the note."""
    lines, reasons = [], []
    for sheet in sheets:
        named = [dict(zip((heading.name for heading in sheet.headings), line, strict=True)) for line in sheet.lines]
        for cells, difference in zip(named, named[1:], strict=False):
            if cells["source"].value == "published":
                printed = cells
            if cells["source"].value != "measured" or not only(cells["network"].value):
                continue
            values = [each for key in quantities for each in (_get(printed, key), short(_get(cells, key)), _get(difference, key))]
            lines.append([cells["row"].value, cells["network"].value if networks else None, cells["seeds"], *values])
            reasons.append(str(cells["comparable"].value))
    headings = [Heading("row", "in the paper"), Heading("network", "here"), Heading("seeds", "seeds", digits=0)]
    for key, text in quantities.items():
        headings += [Heading(f"{key}_printed", f"{text}: printed"), Heading(key, "ours", digits=2), Heading(f"{key}_apart", "apart")]
    if len(set(reasons)) == 1:
        return make_sheet("beside", "", headings, lines, f"Does it compare? {reasons[0][0].upper()}{reasons[0][1:]}.")
    answers = [reason.partition(": ") for reason in reasons]
    numbers = {why: number for number, why in enumerate(dict.fromkeys(why for _, _, why in answers if why), start=1)}
    lines = [(*line, f"{answer} ({numbers[why]})" if why else answer) for line, (answer, _, why) in zip(lines, answers, strict=True)]
    note = " ".join(f"({number}) {why}." for why, number in numbers.items())
    return make_sheet("beside", "", [*headings, Heading("comparable", "does it compare?")], lines, note)


def short(cell: Cell) -> Cell:
    """Two digits; without the standard deviation beside an interval, and without an interval of no width."""
    wide = cell.low is not None and cell.high > cell.low
    return replace(cell, digits=2, deviation=None, low=cell.low if wide else None, high=cell.high if wide else None)


def _get(cells: Mapping[str, Cell], key: str) -> Cell:
    return cells.get(key, Cell())
