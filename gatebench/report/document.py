"""The report as a whole: its sections, once, and the files of each format."""

import io
from collections import defaultdict
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from functools import cached_property

from matplotlib.figure import Figure

from .. import figures
from ..words import counted
from . import bars
from .baseline import baseline_sheet
from .beside_static import beside_static_sheet
from .claims import findings_sheet, point_sheets, realised_sheets
from .comparison import audit_sheet, comparison_sheets
from .flat import Flat, all_points, all_times
from .formats import escaped, to_csv, to_latex, to_markdown
from .front import AXES, Cost, Panel, panels
from .front_figure import drawn, front
from .groups import Group, every_way, groups
from .page.board import Entry, entries
from .page.conclusions import conclusions
from .page.render import Chapter, page
from .paper_figures import SHOWN, destinations, training_curves
from .published import curves
from .results import Run
from .sheet import Sheet
from .twins import with_twins

FORMATS = ("html", "md", "csv", "tex")
MOST_BARS = 45


@dataclass(frozen=True)
class Picture:
    """A figure, and the name of its file."""

    name: str
    title: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        stream = io.BytesIO()
        figures.save(self.figure, stream)
        return stream.getvalue()


@dataclass(frozen=True)
class Section:
    """A chapter: pictures, then tables."""

    title: str
    text: str = ""
    pictures: list[Picture] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """All that was measured, beside what was published."""

    runs: list[Run]
    run_pictures: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each run that has some: their files by name, beside the report's own (`run_pictures.draw_all`)."""
    left_out: list[str] = field(default_factory=list)
    title = "gatebench report"

    @property
    def summary(self) -> str:
        models, sets = {run.headline["model"] for run in self.runs}, {run.headline["dataset"] for run in self.runs}
        return f"{counted(len(self.runs), 'run')} of {counted(len(models), 'model')} on {', '.join(sorted(sets)) or 'no data'}."

    @cached_property
    def members(self) -> list[Group]:
        """The runs, those that differ in the seed alone together."""
        return groups(self.runs)

    @cached_property
    def sections(self) -> list[Section]:
        return [
            Section("Claimed, executed, realised", "What gates say, what was computed, and what that is worth in time.",
                    [*_savings(self.runs), *_destinations(self.members)], _claims(self.runs, self.members)),
            Section("Accuracy against cost", "Filled: on the front. Times are compared within one machine only.",
                    _fronts(self.fronts)),
            Section("Over the epochs", pictures=_curves(self.runs)),
            Section("Published beside measured", "Differences are ours less theirs; what does not compare has its reason.",
                    sheets=comparison_sheets(groups(with_twins(self.runs)))),
            Section("Audit", "What each run's audit found; then the papers' figures, recomputed from each other.",
                    sheets=[sheet for sheet in (findings_sheet(self.members), audit_sheet()) if sheet]),
        ]  # fmt: skip

    @property
    def sheets(self) -> list[Sheet]:
        return [sheet for section in self.sections for sheet in section.sheets]

    @cached_property
    def board(self) -> list[Entry]:
        """The leaderboard."""
        return entries(self.members)

    @cached_property
    def fronts(self) -> dict[Cost, list[Panel]]:
        """Accuracy against each cost."""
        return {cost: panels(self.runs, self.members, cost) for cost in AXES}

    @cached_property
    def conclusions(self) -> list[str]:
        """What it comes to, in three sentences at most."""
        return conclusions(self.board, self.fronts["latency_ms"])

    @cached_property
    def flat(self) -> dict[str, Flat]:
        """All operating points and all times, for programs."""
        return {"results": all_points(self.runs), "times": all_times(self.runs)}


def written(report: Report, kinds: list[str]) -> dict[str, Callable[[io.BufferedIOBase], object]]:
    """Every file of these formats: its name, and what writes it."""
    made: dict[str, Callable] = {}
    if "html" in kinds:
        made["report.html"] = _text(lambda: _html(report))
    if "md" in kinds:
        made["report.md"] = _text(lambda: _markdown(report))
    if "tex" in kinds:
        made["report.tex"] = _text(lambda: _latex(report))
    if "csv" in kinds:
        tables = {**report.flat, **{sheet.name: sheet for sheet in report.sheets}}
        made |= {f"{name}.csv": _text(lambda table=table: to_csv(table)) for name, table in tables.items()}
    if {"md", "tex"} & set(kinds):
        pictures = [picture for section in report.sections for picture in section.pictures]
        made |= {f"{each.name}.png": lambda stream, each=each: stream.write(each.png) for each in pictures}
    return made


def _text(make: Callable[[], str]) -> Callable:
    return lambda stream: stream.write(make().encode())


def _html(report: Report) -> str:
    chapters = [Chapter(section.title, section.sheets) for section in report.sections]
    panels = [*report.fronts["macs_executed"], *report.fronts["latency_ms"]]
    return page(
        report.title, report.conclusions, report.runs, report.board, panels, chapters, report.run_pictures, report.left_out
    )  # fmt: skip


def _markdown(report: Report) -> str:
    parts = [f"# {report.title}", escaped(report.summary), "\n".join(f"- {escaped(each)}" for each in report.conclusions)]
    for section in report.sections:
        parts += [f"## {section.title}", section.text] + [f"![{escaped(each.title)}]({each.name}.png)" for each in section.pictures]
        parts += [to_markdown(sheet) for sheet in section.sheets]
    if report.run_pictures:
        lines = [
            f"- {escaped(name)}: " + ", ".join(f"[{escaped(picture)}]({file})" for picture, file in pictures.items())
            for name, pictures in report.run_pictures.items()
        ]
        parts += ["## Pictures of single runs", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _latex(report: Report) -> str:
    """A document of its own; its tables can be taken out one by one."""
    head = [r"\documentclass{article}", *(rf"\usepackage{{{name}}}" for name in ("array", "booktabs", "adjustbox", "graphicx", "textcomp")),
            r"\usepackage[a4paper,landscape,margin=2cm]{geometry}", r"\begin{document}"]  # fmt: skip
    body = [to_latex(sheet) + "\n\\clearpage" for sheet in report.sheets]
    pictures = [
        "\n".join([r"\begin{figure}", r"\centering", rf"\includegraphics[width=\textwidth]{{{each.name}.png}}",
                   r"\end{figure}", r"\clearpage"])
        for section in report.sections for each in section.pictures
    ]  # fmt: skip
    return "\n".join([*head, *body, *pictures, r"\end{document}"]) + "\n"


def _claims(runs: list[Run], members: list[Group]) -> list[Sheet]:
    sheets = [*point_sheets(members), baseline_sheet(every_way(runs)), beside_static_sheet(runs, members), *realised_sheets(runs)]
    return [sheet for sheet in sheets if sheet]


def _savings(runs: list[Run]) -> list[Picture]:
    """A picture for each place."""
    return [
        Picture(f"savings-{number}", f"{bars.message(members)}: {where}", bars.figure({where: members}))
        for number, (where, members) in enumerate(bars.merged(runs).items(), start=1)
    ]


def _fronts(fronts: dict[Cost, list[Panel]]) -> list[Picture]:
    return [Picture(f"pareto-{cost}", f"Accuracy against {AXES[cost].title}", front(each)) for cost, each in fronts.items() if drawn(each)]


def _curves(runs: list[Run]) -> list[Picture]:
    """One picture for each figure that a paper prints of training, of each recipe the first run that changes least of it."""
    pictures = []
    for printed in curves():
        matching = [run for run in reversed(runs) if all(run.headline.get(key) == value for key, value in printed.match.items())]
        matching.sort(key=lambda run: len(run.headline.get("changes", [])), reverse=True)
        members = {run.headline["recipe"]: run for run in matching}
        title = f"{printed.title} ({printed.where}), a seed each{_of(SHOWN, members)}"
        figure = training_curves(title, [members[name] for name in sorted(members)])
        if figure:
            pictures.append(Picture(printed.name, f"{printed.title}: training, accuracy, gates ({printed.where})", figure))
    return pictures


def _of(most: int, members: Sized) -> str:
    """What a title adds where not all are drawn."""
    return f", {most} of {len(members)}" if len(members) > most else ""


def _destinations(groups: list[Group]) -> list[Picture]:
    """A picture for each model whose inputs go to one of several destinations; images of all severities together."""
    models = defaultdict(list)
    for group in groups:
        if "shares" in group.row and "severity" not in group.row:
            models[group.row["model"]].append(group)
    pictures = []
    for number, (model, members) in enumerate(sorted(models.items()), start=1):
        members.sort(key=lambda group: (group.row["dataset"], group.row["recipe"], group.tradeoffs))
        title = f"Where inputs of {model} go" + _of(MOST_BARS, members)
        pictures.append(Picture(f"destinations-{number}", title, destinations(members[:MOST_BARS])))
    return pictures
