"""The pages for people say what is so: every command on them is run, every file, column and link they name is there."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import SMALL, Command
from PIL import Image

from gatebench import assignment, cli, stages
from gatebench.data import catalogue, reading
from gatebench.data.catalogue import CATALOGUE
from gatebench.data.shapes import make_shapes
from gatebench.models import registry
from gatebench.report import columns, latency_table, train_table
from gatebench.report.formats import escaped
from gatebench.report.results import read_runs
from gatebench.row import Row, TimeRow
from gatebench.sweep import cluster, driver
from gatebench.untrained import check

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
COMMANDS = list(dict.fromkeys(
    tuple(shlex.split(line, comments=True)[1:])
    for page in (re.sub(r"\\\n +", "", page) for page in PAGES.values())  # commands of two lines
    for line in (*re.findall(r"^    (gatebench .*)$", page, re.M), *re.findall(r"`(gatebench [\w-]+ [^`]+)`", page))
))  # fmt: skip
"""Words of every command on a page, in a line of its own or in the text."""
EXAMPLES = ("contrast-gate", "--model-file")
"""Marks the commands of two examples, which have tests of their own."""
TRAINING = [words for words in COMMANDS if words[0] == "train" and words[1] not in EXAMPLES]
FIRST = ("profile-latency", "results/"), ("profile-latency", "results/", "--batch-size", "1,64", "--threads", "1")
"""Times what the other commands read: the runs of `home`, and the example's."""
SWEEPS = [words for words in COMMANDS if words[0] == "sweep-lambda"]
OTHERS = [words for words in COMMANDS if words[0] not in ("train", "sweep-lambda") and words[1] not in EXAMPLES and words not in FIRST]
QUICK = {"profile-latency": ["--inputs", "8", "--repeats", "5", "--max-seconds", "1", "--threads", "1"]}
"""Options that a command is given besides those of the page."""


def section(page: str, title: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGES[page], re.S | re.M)[1]


def first_cells(text: str) -> list[str]:
    """The first cell of every line of a table, without its heading."""
    lines = [line.strip("|").split("|")[0].strip() for line in text.splitlines() if line.startswith("|")]
    return [line for before, line in zip(lines, lines[1:], strict=False) if before and not set(line) <= set("-")]


def small(words: tuple[str, ...]) -> list[str]:
    """A training command with little data and one epoch."""
    words = ["shapes" if before == "--dataset" and word in CATALOGUE else word for before, word in zip(("", *words), words, strict=False)]
    data = SMALL[2:] if "--dataset" in words else SMALL
    parts = {"cgt": ["data.validation=40"], **dict.fromkeys(("expert", "router"), ["data.validation=20", "data.holdout=20"])}
    return [*words, *data, "--epochs", "1", *(word for each in parts.get(words[1], []) for word in ("--set", each))]


def few(words: tuple[str, ...]) -> list[str]:
    """A command whose batches are no more than little data make."""
    return [word.replace("1,64", "1,8") for word in words]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where commands run: results/ with a run of block gates and one with exits, timed, and what pages say a user has."""
    home = tmp_path_factory.mktemp("home")
    (recipe,) = re.findall(r"```yaml\n(.*?)```", PAGES["docs/training.md"], re.S)
    (home / "mine.yaml").write_text(recipe)
    draw = np.random.default_rng(0)
    for part, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            folder = home / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (80, 90, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    for command in (("train", "cosinegate", "--config", "predictive", "--set", "model.depth=8"), ("train", "cgt", "--config", "hard")):
        done = Command(home)(*small(command), "--out", str(home / "results"))
        assert done.returncode == 0, done.stderr
    assert set(FIRST) < set(COMMANDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert Command(home)(*FIRST[0], *QUICK["profile-latency"]).returncode in (0, 3)
    return home


@pytest.fixture
def there(home, monkeypatch):
    """The command line in that folder."""
    monkeypatch.chdir(home)
    return Command(home)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_and_its_options_exist(words):
    group = typer.main.get_command(cli.app)
    with group.make_context("gatebench", list(words[:1]), resilient_parsing=True) as context:
        name, command, _ = group.resolve_command(context, list(words))
    assert command.make_context(name, list(words[1:])).params


def test_an_option_exists():
    group = typer.main.get_command(cli.app)
    options = {option for command in group.commands.values() for parameter in command.params for option in parameter.opts}
    options |= {option for path in (ROOT / "benchmarks").glob("*.py") for option in re.findall(r'"(--[\w-]+)"', path.read_text())}
    options |= {"--force", "--editable", "--head"}  # of git add, pip install and ray start
    for name, page in PAGES.items():
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", page):
            assert option in options, (name, option)


def plan_only(planned: list, monkeypatch) -> None:
    """Keep the jobs of a command in `planned`, here and on a cluster, and make none."""
    for module in (stages, driver):
        monkeypatch.setattr(module, "run", lambda jobs, *others, **options: planned.extend(jobs) or iter(()))
    monkeypatch.setattr(cluster, "check", lambda address: None)  # Ray need not be installed


@pytest.mark.parametrize("words", TRAINING, ids=" ".join)
def test_a_training_command_is_planned(there, home, words, monkeypatch):
    """All of it but the training: recipe, settings, data and network fit together."""
    planned = []
    plan_only(planned, monkeypatch)
    done = there(*small(words), "--out", str(home / "planned"))
    assert done.returncode == 0, done.stderr
    seeds = words[words.index("--seed") + 1] if "--seed" in words else "0"
    assert [job.seed for job in planned if job.wanted] == [int(seed) for seed in seeds.split(",")]
    check((job, assignment.describe_data(job), None) for job in planned if job.wanted)


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_a_sweep_is_planned(there, home, words, monkeypatch):
    """All of it but the data and the training."""
    planned = []
    monkeypatch.setattr(reading, "describe", lambda *settings: {})
    plan_only(planned, monkeypatch)
    done = there(*words, "--threads", "1", "--out", str(home / "planned"))
    assert done.returncode == 0, done.stderr
    values, seeds = (words[words.index(option) + 1].split(",") if option in words else ["0"] for option in ("--values", "--seed"))
    wanted = [job for job in planned if job.wanted]
    chosen = [job.parsed.tradeoff_setting() for job in wanted]
    if isinstance(chosen[0], list):  # a study chooses for every value
        chosen = chosen[0]
    assert sorted(set(chosen)) == sorted(map(float, values)) and {job.seed for job in wanted} == set(map(int, seeds))


def longer(words):
    """Converts networks for several runtimes, or builds large ones."""
    return "--runtime" in words or words[0] == "export" or any(word.startswith("torchvision:") for word in words)


@pytest.mark.parametrize("words", [pytest.param(each, marks=pytest.mark.slow if longer(each) else ()) for each in OTHERS], ids=" ".join)
def test_another_command_runs(there, home, words, monkeypatch):
    (run,) = home.glob("results/cosinegate-*")
    words = [str(run) if word.startswith("results/") and word != "results/" else word for word in few(words)]
    monkeypatch.setattr(catalogue, "make_shapes", lambda count, *others: make_shapes(min(count, 160), *others))
    done = there(*words, *QUICK.get(words[0], []))
    assert done.returncode in (0, 3), done.stderr + done.stdout
    if "--json" in words:
        assert json.loads(done.stdout)


def test_another_study_evaluates_again_and_trains_nothing(there, home):
    (run,) = home.glob("results/cgt-hard-*")
    trained = (run / "epochs.csv").stat().st_mtime_ns
    assert "temperatures" not in json.loads((run / "summary.json").read_text())
    words = next(words for words in TRAINING if words[1:4] == ("cgt", "--config", "hard") and "study.temperature=true" in words)
    done = there(*small(words), "--out", "results")
    assert done.returncode == 0, done.stderr
    assert list(home.glob("results/cgt-hard-*")) == [run] and (run / "epochs.csv").stat().st_mtime_ns == trained
    assert "temperatures" in json.loads((run / "summary.json").read_text())


def test_the_files_of_a_run_are_those_of_the_page(home):
    listed = {name.strip("`").rstrip("/") for name in first_cells(PAGES["docs/run-folder.md"].partition("\n## ")[0])}
    optional, of_exits = {"times"}, {"exits.csv", "calibration.csv"}
    block_gates, exits = ({path.name for path in run.iterdir()} for run in sorted(home.glob("results/c*"), reverse=True))
    assert block_gates - optional - {".lock"} == listed - optional
    assert exits - optional - {".lock"} == listed - optional | of_exits


def test_the_files_of_a_timing_are_those_of_the_page(home):
    (run,) = home.glob("results/cosinegate-*")
    suffixes = {name.strip("`") for name in first_cells(section("docs/timing.md", "What a timing writes"))}
    for timing in run.glob("times/*.jsonl"):
        assert {path.suffix for path in run.glob(f"times/{timing.stem}.*")} == suffixes


def test_the_columns_of_the_pages_are_those_of_the_tables(home):
    (run,) = (run for run in read_runs(home / "results")[0] if run.headline["model"] == "cgt")
    tables = {
        "docs/training.md": [heading.shown for heading in train_table.CLAIMS] + ["audit"],
        "docs/timing.md": [heading.shown for heading in (*latency_table.TIMES, *latency_table.GATES)],
        "docs/exits.md": [heading.shown for sheet in train_table.run_tables(run.points, run.columns) for heading in sheet.headings]
        + [column.heading for column in run.columns] + [train_table.CLAIMS[6].shown, train_table.CLAIMS[9].shown],
    }  # fmt: skip
    for page, headings in tables.items():
        titles = ("What the table says", "What the tables say", "What the columns say")
        (title,) = (title for title in titles if f"## {title}" in PAGES[page])
        for cell in first_cells(section(page, title)):
            for name in cell.split(", "):
                name = name.replace("/ ...", "/ exit 3").removesuffix(" %").removesuffix(" ms")
                assert any(name in heading for heading in headings), (page, name)


def test_the_page_of_columns_is_what_the_schema_says():
    again = "Run python -m gatebench.report.columns > docs/columns.md"
    assert PAGES["docs/columns.md"] == columns.page(), again
    meanings = {field.description for field in {**TimeRow.model_fields, **Row.model_fields}.values()}
    assert len(meanings) > 60 and "95 % interval" in meanings and all(escaped(meaning) in PAGES["docs/columns.md"] for meaning in meanings)


def test_columns_of_families_and_of_tables_for_programs_are_listed(there, home):
    listed, page = there("list", "columns").stdout, PAGES["docs/columns.md"]
    titles = {name: title for title in re.findall(r"^## Columns of (.*)$", page, re.M) for name in title.split(", ")}
    declaring = [each for each in map(registry.registered, registry.list_models()) if each and (each.columns or each.tradeoffs)]
    assert {"cosinegate", "cgt", "lag-vgg11", "pruned", "router"} <= {each.name for each in declaring}
    for entry in declaring:
        text = section("docs/columns.md", f"Columns of {titles[entry.name]}")
        assert f"Columns of {titles[entry.name]}" in listed
        for column in (*entry.columns, *entry.tradeoffs.values()):
            assert escaped(column.meaning) in text and (escaped(column.name) in text or column.name.endswith(("_low", "_high")))
    names = {name.replace("\\", "") for name in first_cells(page)}
    lists = "shares", "thresholds", "temperatures", "calibration_error_pct", "latency_quantiles_ms", "rival_quantiles_ms", "cost_units_ms"
    answer = there.json("report", "results", "--format", "csv")
    for name in {*answer["results"]["units"], *answer["times"]["units"]}:
        assert name.removesuffix("_low").removesuffix("_high") in names or name.startswith(tuple(f"{each}_" for each in lists)), name


def test_what_programs_read_is_named_as_on_the_page(there, home):
    (table,) = (each for each in there.json("report", "results", "--format", "csv")["tables"] if "cgt" in json.dumps(each["rows"])
                and each["name"].startswith("points"))  # fmt: skip
    assert {"accuracy", "accuracy_low", "accuracy_high", "shares_exit_1"} <= set(table["units"])
    assert all(isinstance(value, (int, float, str)) for row in table["rows"] for value in row.values())


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_points_at_is_there(page):
    text = PAGES[page]
    for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], target
    for name in re.findall(r"`((?:tests|gatebench|benchmarks|results|docs)/[\w/.-]+)`", text):
        assert (ROOT / name).exists() or name.startswith(("results/report", "gatebench/recipes/contrast")), name
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
        assert any(ROOT.glob(f"{top}/{name}") for top in (".", "gatebench", "gatebench/*", "gatebench/*/*", "tests/made_up")) or (
            name == "contrast_gate.py"
        ), name
    for target in re.findall(r"^    make ([\w-]+)", text, re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


@pytest.fixture
def example(there, tmp_path, monkeypatch):
    """The method of docs/add-a-method.md, installed as the page says; its recipe is in the folder that is given."""
    page = PAGES["docs/add-a-method.md"]
    module, recipe, entry_points = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "yaml", "toml"))
    (tmp_path / "contrast_gate.py").write_text(module)
    (tmp_path / "contrast.yaml").write_text(recipe)
    about = tmp_path / "contrast_gate-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: contrast-gate\nVersion: 1.0\n")
    group, line = re.search(r'entry-points\."([\w.]+)"\]\n(.*)', entry_points).groups()
    (about / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    yield tmp_path
    registry._installed.cache_clear()
    registry._entries.pop("contrast-gate", None)


def test_the_method_of_the_page_goes_all_the_way_to_the_report(example, there):
    train = next(words for words in COMMANDS if "contrast-gate" in words)
    (row,) = there.json(*train, "--threads", "1")
    assert row["model"] == "contrast-gate" and row["macs_gate"] == 2 * 16 * 6
    assert row["skip_pct"] == pytest.approx(100 * (1 - row["mean_gate_hard"]))
    assert "contrast-gate" in there("list", "models").stdout
    assert there(*few(FIRST[1]), *QUICK["profile-latency"]).returncode in (0, 3)
    (timed,) = (sheet for sheet in there.json("report", "results/", "--format", "csv")["tables"] if sheet["name"] == "realised-1")
    assert timed["rows"][0]["network"] == "contrast-gate contrast shapes s0"
