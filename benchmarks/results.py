"""Write the tables and pictures of the pages in results/ anew from the runs beside them.

    python benchmarks/results.py [RESULTS]

Each table stands on its page between `<!-- table: NAME -->` and `<!-- end -->`: benchmarks/cosinegate_page.py makes those of
cosinegate.md, and so on. All operating points and times go to RESULTS/tables/ as CSV, with what the pages leave out. In
RESULTS/pictures/, savings.png shows claimed, executed and realised savings of the networks in `SHOWN`, the others those of each page,
gates on blocks beside static networks, and the curves of the runs in `CURVES`.
"""

import argparse
import io
from pathlib import Path
from types import ModuleType

import blocks_page
import cgt_page
import channels_page
import cosinegate_page
import edge_page
import references_page
import routing_page
from matplotlib.figure import Figure
from pages import with_tables, write_tables
from PIL import Image

from gatebench import figures
from gatebench.models.exits.pictures import pictures
from gatebench.report import bars
from gatebench.report.comparison import audit_sheet, comparison_sheets
from gatebench.report.groups import groups
from gatebench.report.results import Run, read_runs
from gatebench.report.sheet import Sheet
from gatebench.report.twins import with_twins

RESULTS = Path(__file__).parents[1] / "results"
PAGES = {"cosinegate": cosinegate_page, "blocks": blocks_page, "cgt": cgt_page, "channels": channels_page, "routing": routing_page,
         "edge": edge_page, "references": references_page}  # fmt: skip
DRAWN = {
    "cosinegate": ("cosinegate",), "blocks": ("slat", "skipnet", "convnet-aig", "blockdrop", "when-unsure", "random-skip"), "cgt": ("cgt",),
    "channels": ("lag-vgg11", "lag-resnet18"), "routing": ("router",),
}  # fmt: skip
"""Models in the picture of each page."""
SHOWN = {
    "cosinegate aggressive": (), "cosinegate balanced": (), "cosinegate conservative": (), "cosinegate predictive": (),
    "cgt joint": (), "cgt soft": (), "cgt soft-printed": (), "cgt hard": (),
    "lag-vgg11 released": (1.0,), "lag-resnet18 released": (1.0,), "lag-vgg11 fbs": (), "router default": (0.7, 0.8, 0.9),
}  # fmt: skip
"""Networks of the first picture: widths, or lambdas; every one where none is named."""
CURVES = {"exits-joint.png": "cgt joint", "exits-hard.png": "cgt hard"}
"""Pictures of seed 0."""
BATCH = ", batch 1"
COLOURS = 64


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What goes to tables/, by the name of the file."""
    tables = {name: sheets for module in PAGES.values() for name, sheets in module.full(runs).items()}
    return {**tables, "published": comparison_sheets(groups(with_twins(runs))), "published-audit": [audit_sheet()]}


def page(module: ModuleType, text: str, runs: list[Run]) -> str:
    """A page with today's tables."""
    return with_tables(text, module.tables(runs))


def draw(runs: list[Run], results: Path) -> None:
    """Every picture of the pages."""
    folder = results / "pictures"
    folder.mkdir(exist_ok=True)
    _savings([run for run in runs if _is_shown(run)], folder / bars.NAME)
    for name, models in DRAWN.items():
        _savings([run for run in runs if run.headline["model"] in models], folder / f"savings-{name}.png")
    _save(blocks_page.picture(runs), folder / blocks_page.PICTURE)
    for name, network in CURVES.items():
        run = next(run for run in runs if _name(run) == network and run.headline["seed"] == 0)
        _save(pictures(run.folder)["exits"], folder / name)


def _savings(runs: list[Run], path: Path) -> None:
    places = {where: members for where, members in bars.merged(runs).items() if where.endswith(BATCH)}
    _save(bars.figure(places), path)


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of few colours, a third of the size."""
    stream = io.BytesIO()
    figures.save(figure, stream)
    Image.open(stream).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _is_shown(run: Run) -> bool:
    wanted = SHOWN.get(_name(run))
    return wanted is not None and (not wanted or (run.setting("model.width") or run.headline.get("tradeoff")) in wanted)


def _name(run: Run) -> str:
    return f"{run.headline['model']} {run.headline['recipe']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    results = parser.parse_args().results
    runs, left_out = read_runs(results)
    for line in left_out:
        print(f"left out: {line}")
    for name, module in PAGES.items():
        path = results / f"{name}.md"
        path.write_text(page(module, path.read_text(), runs))
    write_tables(results / "tables", full(runs))
    draw(runs, results)


if __name__ == "__main__":
    main()
