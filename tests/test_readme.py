"""The README and the pages of results/ say what is in the repository, and results/ holds what it should."""

import csv
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import masked

from gatebench.report.check import check
from gatebench.report.formats import to_csv
from gatebench.report.results import read_runs
from gatebench.results import PER_RUN
from gatebench.row import Row, TimeRow
from gatebench.rows import read_columns
from gatebench.runs import RunFolder
from gatebench.trained import load_run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from pages import together  # noqa: E402

from results import PAGES, full, page  # noqa: E402

RESULTS = ROOT / "results"
README = (ROOT / "README.md").read_text()
RUNS = sorted(path.parent for path in RESULTS.glob("*/recipe.yaml"))
MOST_PARAMS = 375_000
"""Weights of 1.5 MB and more are not committed unless they are named; smaller ones are, of seed 0."""
MOST_BYTES = 40_000_000
"""Of all that is committed."""
MOST_OF_A_PICTURE = 200_000
SAID = {
    "README": {
        "0.59": ("cosinegate-times", "cosinegate balanced", "speedup"), "0.78": ("cosinegate-times", "cosinegate predictive", "realised"),
        "0.60": ("cgt-times", "cgt indian-pines indian-pines-random", "realised"), "0.94": ("cgt-times", "cgt cifar100", "realised"),
    },
    "cosinegate": {
        **dict.fromkeys(("0.75", "0.78", "0.79"), ("cosinegate-times", "cosinegate predictive", "realised")),
        **dict.fromkeys(("1.071", "1.075"), ("cosinegate-times", "cosinegate predictive", "all_on")),
    },
    "blocks": {"83.01": ("blocks-points", "fixed-blocks default", "accuracy")},
    "references": {},
    "cgt": {
        "0.60": ("cgt-times", "cgt indian-pines indian-pines-random", "realised"),
        "0.80": ("cgt-times", "cgt joint", "realised"), "0.88": ("cgt-times", "cgt soft-printed", "realised"),
        "2.8": ("cgt-points", "cgt joint", "overthinking_pct"), "4.5": ("cgt-points", "cgt hard", "overthinking_pct"),
        "0.86": ("cgt-beside-joint-training", "cgt soft-printed", "accuracy_gain"),
        "0.48": ("cgt-beside-joint-training", "cgt soft-printed", "accuracy_gain_high"),
        "1.23": ("cgt-beside-joint-training", "cgt soft-printed", "accuracy_gain_low"),
    },
    "channels": {
        "0.004": ("channels-l1-weights", "hard", "weight"), "64.2": ("channels-times", "lag-vgg11 fbs", "timed_saving_pct"),
        "0.33": ("channels-times", "lag-vgg11 fbs", "speedup_low"), "0.34": ("channels-times", "lag-vgg11 fbs", "speedup"),
        "0.35": ("channels-times", "lag-vgg11 fbs", "speedup_high"), "0.48": ("channels-times", "lag-vgg11 input", "speedup_low"),
        "0.49": ("channels-times", "lag-vgg11 input", "speedup"), "0.50": ("channels-times", "lag-vgg11 input", "speedup_high"),
        **dict.fromkeys(("1.34", "1.75"), ("channels-times", "lag-compact", "speedup")),
        "13.3": ("channels-points", "lag-resnet18 released", "accuracy"), "33.9": ("channels-points", "lag-vgg11 released", "accuracy"),
        "27.35": ("channels-rivals", "lag-compact", "accuracy"), "42.79": ("channels-rivals", "vgg11", "accuracy"),
        "46.60": ("channels-rivals", "lag-vgg11 fbs", "accuracy"), "50.25": ("channels-rivals", "pruned magnitude", "accuracy"),
    },
    "edge": {
        "93.52": ("cgt-points", "cgt deepest", "accuracy"), "87.45": ("blocks-points", "resnet14 default", "accuracy"),
        "90.42": ("blocks-points", "resnet56 default", "accuracy"),
    },
    "routing": {"0.3": ("routing-routers", "cascade", "gain"), "13.94": ("routing.txt", "in the loop", "")},
}  # fmt: skip
"""Numbers of sentences that stand in no table on their page: file of results/tables/, network and column; or output of a benchmark, and
the line."""
NAMES = "network", "run", "router", "recipe"
"""Columns that name a network."""


@pytest.fixture(scope="module")
def committed():
    """Skips where results/ holds more than was committed: a user's own runs and times, of which no README says anything."""
    done = subprocess.run(["git", "status", "--porcelain", "--ignored", "results"], cwd=ROOT, capture_output=True, text=True)
    ours = ("README.md", "benchmarks/", "pictures/", "report/", "pareto-", "savings.png", "tables/", *(f"{name}.md" for name in PAGES))
    if any(not line[3:].removeprefix("results/").startswith(ours) for line in done.stdout.splitlines()):
        pytest.skip("results/ holds runs or times of your own; its README speaks of the committed ones")


@pytest.fixture(scope="module")
def runs(committed):
    runs, left_out = read_runs(RESULTS)
    assert runs and not left_out
    return runs


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_of_a_page_are_those_of_the_committed_runs(runs, name):
    """As `python benchmarks/results.py` writes them."""
    text = (RESULTS / f"{name}.md").read_text()
    assert text.count("\n|---|") >= 1 and page(PAGES[name], text, runs) == text
    with pytest.raises(ValueError, match="the page has no place for .*(savings|ways|runtimes|beside)"):
        page(PAGES[name], "", runs)


def test_times_on_the_device_are_of_their_runs(committed, tmp_path):
    """They lie apart from runs that have times of torch, too."""
    homes = [times.parent for times in (RESULTS / "edge").glob("*/times")]
    for home in homes:
        shutil.copytree(RESULTS / home.name if (RESULTS / home.name).is_dir() else home, tmp_path / home.name)
        shutil.rmtree(tmp_path / home.name / "times", ignore_errors=True)
        shutil.copytree(home / "times", tmp_path / home.name / "times")
    assert check(tmp_path) == (len(homes), [])


def test_the_full_tables_are_those_of_the_committed_runs(runs):
    """As `python benchmarks/results.py` writes them, each on a page."""
    made = {f"{name}.csv": to_csv(together(sheets)) for name, sheets in full(runs).items()}
    assert made == {path.name: path.read_text() for path in (RESULTS / "tables").iterdir()}
    texts = "".join(text_of_pages().values())
    assert all(f"tables/{name}" in texts for name in made)


@pytest.mark.parametrize("name", ["README", *PAGES])
def test_a_number_in_a_sentence_is_one_of_the_tables(committed, name):
    """Of those with decimals: in a table on the page, or where `SAID` says that it stands."""
    parts = re.split(r"<!-- table: .*? -->|<!-- end -->", (RESULTS / f"{name}.md").read_text())
    sentences, shown = "\n".join(parts[::2]), numbers("\n".join(parts[1::2]))
    sentences = re.sub(r"<.*?>|\]\(.*?\)|\d{4}\.\d{5}|^    .*$", "", sentences, flags=re.M)
    said = numbers(sentences) - shown
    assert said == SAID[name].keys()
    for number, (file, network, column) in SAID[name].items():
        if file.endswith(".txt"):
            assert re.search(rf"{network}.* {number} ", (RESULTS / "benchmarks" / file).read_text())
            continue
        lines = csv.DictReader((RESULTS / "tables" / f"{file}.csv").read_text().splitlines())
        named = [(next(line[key] for key in NAMES if key in line), line[column]) for line in lines]
        found = [float(value) for name, value in named if name.startswith(network) and value]
        assert number in {f"{abs(each):.{len(number.partition('.')[2])}f}" for each in found}, (number, file, found)


def test_what_the_readme_says_was_found_is_said_on_the_pages(committed):
    """Each number with decimals in a sentence of the page that its line points at, or in what it shows beside the paper."""
    found = (ROOT / "README.md").read_text().partition("## What it found")[2].partition("\n| ")[0]
    lines = re.findall(r"^- .*?(?=\n- |\Z)", found.strip(), re.M | re.S)
    assert len(lines) == 6
    for line in lines:
        (page,) = re.findall(r"\(results/(\w+)\.md\)", line)
        said = re.sub(r"<!-- table: (?!beside).*?<!-- end -->", "", (RESULTS / f"{page}.md").read_text(), flags=re.S)
        assert numbers(line) <= numbers(said), line


def numbers(text: str) -> set[str]:
    """Those with decimals, without their sign."""
    return set(re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", text))


def text_of_pages() -> dict[str, str]:
    return {str(path.relative_to(RESULTS)): path.read_text() for path in (*RESULTS.glob("*.md"), *RESULTS.glob("benchmarks/*.md"))}


def test_what_the_pages_point_at_is_there():
    for name, text in text_of_pages().items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            there = (RESULTS / name).parent / path
            assert target.startswith("https://") or there.exists(), (name, target)
            if anchor and not target.startswith("https://"):
                titles = re.findall(r"^#+ (.*)$", there.read_text(), re.M)
                assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], (name, target)


def test_a_page_is_short_and_begins_with_what_came_out():
    words = {name: len(re.findall(r"[^\s|]+", text)) for name, text in text_of_pages().items()}
    assert words["README.md"] <= 520 and all(words[f"{name}.md"] <= 1300 for name in PAGES)
    for name in PAGES:
        _, first, *_ = (RESULTS / f"{name}.md").read_text().split("\n\n")
        assert first.startswith("**") and numbers(first), name


def test_the_pictures_are_there():
    shown = {source for text in text_of_pages().values() for source in re.findall(r'<img src="([^"]+)"', text)}
    assert {f"pictures/{path.name}" for path in (RESULTS / "pictures").iterdir()} == shown
    assert (RESULTS / "pictures" / "savings.png").stat().st_size < MOST_OF_A_PICTURE


def test_what_each_exit_gets_alone_is_that_of_the_committed_runs(committed):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "exits.py"], capture_output=True, text=True, check=True)
    assert done.stdout == (RESULTS / "benchmarks" / "exits.txt").read_text() and "over annealed, exit 3" in done.stdout


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_committed_run_is_complete(committed, path):
    names = {file.name for file in path.iterdir()}
    assert {"machine.json", "data.json", "epochs.csv", "rows.jsonl", "summary.json", "breakdown.csv"} <= names
    summary = json.loads((path / "summary.json").read_text())
    if summary["dataset"] == "intel-scenes":  # the pool's tables say what each expert answers; a router cannot be run without experts
        assert not names & {"model.safetensors", "examples.npz"}
    else:
        kept, of_seed_0 = names & set(PER_RUN), set(PER_RUN)
        if json.loads((path / "data.json").read_text())["input_shape"][0] not in (1, 3) or not summary["adaptive"]:
            of_seed_0 -= {"examples.npz"}  # thumbnails are of pictures that gates decided about
        if summary["seed"]:
            assert not kept
        elif summary["params"] < MOST_PARAMS:
            assert kept | {"model.safetensors"} == of_seed_0 | {"model.safetensors"}  # weights, where there is room
        else:  # heavy: without weights, or named when it was published
            assert kept in (set(), of_seed_0 - {"model.safetensors"}, of_seed_0)
    assert not list(path.rglob("*.png")) and not list(path.rglob("*.svg")) and not list(path.glob("times/*.csv"))
    content = yaml.safe_load((path / "recipe.yaml").read_text())
    assert content["training"]["epochs"] == len((path / "epochs.csv").read_text().splitlines()) - 1
    if "model.safetensors" in names:  # today's code builds the network that the weights were trained in
        model, recipe, _ = load_run(RunFolder(path))
        assert recipe.name == summary["recipe"] and model.macs_static == summary["macs_dense"]


def test_every_column_of_a_committed_row_is_documented(committed):
    timed = 0
    for path in RUNS:
        columns = read_columns(path / "columns.json")
        for line in (path / "rows.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert Row.model_validate(row, strict=True).model_extra.keys() <= {column.name for column in columns}, path
        assert json.loads((path / "summary.json").read_text()) == json.loads((path / "rows.jsonl").read_text().splitlines()[0])
        for times in path.glob("times/*.jsonl"):
            for line in times.read_text().splitlines():
                assert not TimeRow.model_validate(json.loads(line), strict=True).model_extra, times
                timed += 1
    assert timed > 40


def test_what_is_committed_is_small():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.exists()) < MOST_BYTES


def blocks(text: str) -> list[str]:
    """Indented blocks of a page."""
    return [block for block in re.findall(r"(?:^    .*\n)+", text, re.M)]


def test_the_network_of_your_own_is_timed_as_shown(gatebench, tmp_path, monkeypatch):
    """Its code, the command under it, and what that ends with: the MACs exactly, the times in the same words."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (tmp_path / "early.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    command, said = next(pair for pair in itertools.pairwise(blocks(README)) if "--model-file" in pair[0])
    done = gatebench(*shlex.split(command.replace("\\\n", ""))[1:], "--repeats", "5", "--max-seconds", "1")
    assert done.returncode in (0, 3), done.stderr
    (sentence,) = (line for line in done.stdout.splitlines() if line.startswith("early:EarlyExit executes"))
    start, _, _ = " ".join(said.split()).partition(" and is")
    assert sentence.startswith(start) and start == "early:EarlyExit executes 61 % less"
    slow_or_noisy = "may be faster or slower" in sentence or "busy" in sentence
    assert slow_or_noisy or masked(sentence) == masked(said)


def test_the_readme_is_short():
    assert len(README.split()) <= 900 and all(len(line) <= 100 or line.startswith("|") for line in README.splitlines())
