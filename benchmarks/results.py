"""Write the tables and pictures of results/README.md anew from the runs beside it.

    python benchmarks/results.py [RESULTS]

Tables are those of the first section of `gatebench report RESULTS`. Each stands on its page between `<!-- tables: BEGINNING -->` and
`<!-- end -->`: all tables whose titles begin so, or with one of several beginnings set apart by semicolons. Pictures go to
RESULTS/pictures/: the front of executed MACs, and the curves of the runs in `CURVES`. The tables of channels.md are written by
benchmarks/channels_page.py, those of routing.md by benchmarks/worth.py.
"""

import argparse
import re
from pathlib import Path

from gatebench import figures
from gatebench.models.exits.pictures import pictures
from gatebench.report.document import compose
from gatebench.report.formats import to_markdown
from gatebench.report.front import panels
from gatebench.report.front_figure import write_fronts
from gatebench.report.groups import groups
from gatebench.report.results import Run, read_runs
from gatebench.report.sheet import Sheet

RESULTS = Path(__file__).parents[1] / "results"
CURVES = {"exits-joint.png": ("cgt", "joint"), "exits-hard.png": ("cgt", "hard")}
"""Pictures of seed 0 of a model's recipe."""
ELSEWHERE = "expert", "router", "lag-vgg11", "lag-resnet18", "lag-compact", "pruned", "vgg11", "resnet18"
"""Models with pages of their own."""
PART = re.compile(r"(<!-- tables: (.*?) -->\n).*?(<!-- end -->)", re.S)


def shown(results: Path) -> tuple[list[Run], list[str]]:
    """The runs whose tables the README shows, and a line for each folder that could not be read."""
    runs, left_out = read_runs(results)
    return [run for run in runs if run.headline["model"] not in ELSEWHERE], left_out


def sheets(runs: list[Run]) -> list[Sheet]:
    """The tables of what is claimed, executed and realised."""
    claims, *_ = compose(runs, {}, []).sections
    return claims.sheets


def with_tables(text: str, tables: list[Sheet]) -> str:
    """The README's text with today's tables. Raises ValueError for a table that no part or more than one takes."""
    taken = []

    def fill(part: re.Match) -> str:
        beginnings = tuple(part[2].split("; "))
        own = [sheet for sheet in tables if sheet.title.startswith(beginnings)]
        taken.extend(own)
        return part[1] + "".join(f"\n{to_markdown(sheet)}\n" for sheet in own) + "\n" + part[3]

    text = PART.sub(fill, text)
    for sheet in tables:
        if taken.count(sheet) != 1:
            raise ValueError(f"{taken.count(sheet)} parts of the README take the table {sheet.title!r}; give it one")
    return text


def draw(runs: list[Run], folder: Path) -> None:
    """All pictures that the README shows."""
    folder.mkdir(exist_ok=True)
    front = {"macs_executed": panels(runs, groups(runs), "macs_executed")}
    write_fronts(front, folder, folder / "pareto-macs_executed.svg")
    for name, (model, recipe) in CURVES.items():
        run = next(run for run in runs if (run.headline["model"], run.headline["recipe"], run.headline["seed"]) == (model, recipe, 0))
        with open(folder / name, "wb") as stream:
            figures.save(pictures(run.folder)["exits"], stream)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    options = parser.parse_args()
    runs, left_out = shown(options.results)
    for line in left_out:
        print(f"left out: {line}")
    readme = options.results / "README.md"
    readme.write_text(with_tables(readme.read_text(), sheets(runs)))
    draw(runs, options.results / "pictures")


if __name__ == "__main__":
    main()
