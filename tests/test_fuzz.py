"""2,000 recipes, --set values and run folders that chance has spoilt: each is read, or refused with a sentence, soon and within bounds."""

import copy
import io
import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_malformed import BOMB, within_bounds
from test_report import ROW, TIMED, write_run

from gatebench import library, recipe
from gatebench.errors import GatebenchError
from gatebench.models import registry
from gatebench.plain_data import from_yaml
from gatebench.report.document import FORMATS, Report, written
from gatebench.report.front import panels
from gatebench.report.front_table import as_dict
from gatebench.report.groups import groups
from gatebench.report.results import read_runs

pytestmark = pytest.mark.slow


def cases(count):
    """So many, always the same ones."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=unhurried)


NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 0.5, 1e-320, 5e-324, 1e-30, 1e30, 1e300, -1e308, 2**31, 2**63, 10**400, float("inf"), float("nan")]),
    st.integers(-100, 1000), st.floats(),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["", "shapes", "default", "cosine", "nosuch", "~", "a.b", "x[0]", "[/red]", "\x1b[31m", "\0", "\u202e", "x" * 600]),
    st.sampled_from(["../..", "1e400", "/dev/zero", "router", "weights"]), st.text(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.integers(), inner, max_size=4),
    max_leaves=8,
)
FRAGMENTS = st.sampled_from(
    ["!!bool x", "!!timestamp x", "0b_", "0x_", "9" * 6000, "[" * 500, "{a: " * 30, "&a [*a]", "*a", "<<: 5", "? [a]", "2024-99-99", "\t",
     "\x00", "\x1b", "---\n", "...", ": ", "- " * 30, "'", '"\\x', "%", "@", "|", ">", "#", "\ufeff", "\u2028", "1:59", ".inf", "~", "}",
     BOMB]
)  # fmt: skip
LIBRARY = [
    (family, name, next(model for model in registry.list_models() if registry.entry(model).recipes == family))
    for family, name in library.available()
]


def spoilt(content, draw):
    """Plain data in which chance has replaced, removed and added some values."""
    for _ in range(draw(st.integers(1, 3))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            change = draw(st.sampled_from(["replace", "remove", "add"]))
            if change == "replace":
                place[key] = draw(VALUES)
            elif change == "remove":
                del place[key]
            elif isinstance(place, dict):
                place[draw(TEXTS)] = draw(VALUES)
            else:
                place.append(draw(VALUES))
            break
    return content


def cut(text, draw):
    """A text into which chance has cut, and put what is hard to read."""
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 20)))
        text = text[:begin] + draw(FRAGMENTS | st.text(max_size=5)) + text[end:]
    return text


def is_sentence(error):
    """Whether an error says something that is not endless; what it repeats of a value may hold the ends of lines."""
    return 0 < len(str(error)) < 4000


def used(path, family, model):
    """What commands do with a recipe's file before anything is trained."""
    try:
        read = recipe.load(family, model, str(path))
        resolved = read.resolved()
        again = recipe.parse(from_yaml(resolved.dump()), "again")
        assert again.content() == resolved.content() and again.digest() == resolved.digest()
        resolved.with_epochs(7).dump()
    except GatebenchError as error:
        assert is_sentence(error), error


@cases(500)
@given(st.data())
def test_recipes_with_spoilt_values(data):
    family, name, model = data.draw(st.sampled_from(LIBRARY))
    content = spoilt(yaml.safe_load((library.LIBRARY / family / f"{name}.yaml").read_text()), data.draw)
    with tempfile.TemporaryDirectory() as folder, within_bounds():
        path = Path(folder) / "mine.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8", errors="replace")
        used(path, family, model)


@cases(400)
@given(st.data())
def test_recipes_with_spoilt_texts(data):
    family, name, model = data.draw(st.sampled_from(LIBRARY))
    text = cut((library.LIBRARY / family / f"{name}.yaml").read_text(), data.draw)
    with tempfile.TemporaryDirectory() as folder, within_bounds():
        path = Path(folder) / "mine.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        used(path, family, model)


def keys(content, above=""):
    """Paths of all settings of a recipe."""
    for key, value in content.items():
        yield above + key
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")


@cases(700)
@given(st.data())
def test_set(data):
    family, name, model = data.draw(st.sampled_from(LIBRARY))
    known = st.sampled_from(sorted(keys(recipe.load(family, model, name).resolved().content())))
    value = FRAGMENTS | TEXTS | VALUES.map(lambda each: yaml.safe_dump(each, default_flow_style=True).removesuffix("...\n").strip())
    changes = [f"{data.draw(known | TEXTS)}={data.draw(value)}" for _ in range(data.draw(st.integers(1, 3)))]
    with within_bounds():
        try:
            recipe.load(family, model, name, changes).resolved().dump()
        except GatebenchError as error:
            assert is_sentence(error), error


FILES = ("rows.jsonl", "summary.json", "recipe.yaml", "epochs.csv", "columns.json", "times/desk.jsonl")
COLUMNS = [{"name": "extra", "kind": "number", "meaning": "of a fuzzed run", "heading": "extra"},
           {"name": "parts", "kind": "numbers", "meaning": "of a fuzzed run", "heading": "parts"}]  # fmt: skip


@cases(370)
@given(st.data())
def test_run_folders(data):
    try_run_folders(data)


@cases(30)
@given(st.data())
def test_run_folders_in_pictures(data):
    try_run_folders(data, pictures=True)


def try_run_folders(data, pictures=False):
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        write_run(results / "good", [{}])
        bad = write_run(results / "bad", [{}], others=[{"severity": "mild"}], seed=1, extra=0.5, parts=[0.5, None])
        (bad / "columns.json").write_text(json.dumps(COLUMNS))
        for name in data.draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True)):
            path = bad / name
            if name.endswith("jsonl") and data.draw(st.booleans()):
                row = copy.deepcopy({**(TIMED if name.startswith("times") else {}), **ROW})
                path.write_text(json.dumps(spoilt(row, data.draw)) + "\n", encoding="utf-8", errors="replace")
            else:
                path.write_text(cut(path.read_text(), data.draw), encoding="utf-8", errors="surrogatepass")
        with within_bounds():
            reported(results, pictures)


def reported(results, pictures):
    """Every table and text of `report` and `pareto`, and its pictures; the good run is in them."""
    runs, left_out = read_runs(results)
    assert "good" in [run.name for run in runs], left_out
    assert all(line.startswith("bad: ") and line.isprintable() and len(line) < 1000 for line in left_out)
    for cost in ("macs_executed", "latency_ms", "energy_mj"):
        json.dumps(as_dict({cost: panels(runs, groups(runs), cost)}, []), allow_nan=False)
    made = Report(runs, {}, left_out)
    for name, fill in written(made, FORMATS if pictures else ["csv", "md", "tex"]).items():
        if pictures or not name.endswith(".png"):
            fill(io.BytesIO())
