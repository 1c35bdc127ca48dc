"""Malformed recipes, --set values, run folders, paths, settings, streams: each gives a right value or one sentence, soon, within bounds.

Every test has 5 seconds of computing and 1 GB of memory more than the process had.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import STATIC, copied
from PIL import Image
from test_report import write_run

from gatebench import library, plain_data, recipe, trained
from gatebench.cli.console import Terminal, most_threads, streams
from gatebench.data.catalogue import data_root
from gatebench.data.settings import Data
from gatebench.errors import GatebenchError, UsageError, needs_memory
from gatebench.foreign import Unreadable
from gatebench.models import registry
from gatebench.plain_data import from_json, from_yaml
from gatebench.report.results import read_runs
from gatebench.runs import RunFolder, choose_folder
from gatebench.weights.files import file_digest, read_weights

SECONDS, GIGABYTE = 5, 1 << 30


class TooLong(BaseException):
    """Not an Exception, which somebody might catch."""


@contextlib.contextmanager
def within_bounds():
    """Breaks off what computes or waits too long; what takes too much memory gets none."""

    def too_long(number, frame):
        raise TooLong

    before = {number: signal.signal(number, too_long) for number in (signal.SIGPROF, signal.SIGALRM)}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIGABYTE, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(60)  # whoever waits for a pipe does not compute
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def bounded():
    with within_bounds():
        yield


def one_sentence(error):
    """What an error says, where that is a line of readable length."""
    said = str(error)
    assert said and len(said) < 2500 and "\n" not in said and "Traceback" not in said
    return said


# JSON and YAML

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))

YAML = {
    "tag of a truth value": ("!!bool x", "the tag !!bool"),
    "tag of a time": ("!!timestamp x", "the tag !!timestamp"),
    "tag of a number": ("!!int x", "the tag !!int"),
    "tag of nothing": ("!!int ''", "the tag !!int"),
    "tag of bytes": ("!!binary aGVsbG8=", "the tag !!binary"),
    "tag of a set": ("!!set {a, b}", "the tag !!set"),
    "tag of pairs": ("!!omap [a: 1]", "the tag !!omap"),
    "tag of Python": ("!!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system"),
    "tag of somebody's own": ("!mine x", "the tag !mine"),
    "tag in full": ("!<tag:yaml.org,2002:python/name:os.system> x", "the tag !!python/name:os.system"),
    "tag inside": ("a: {b: [1, !!float x]}", "the tag !!float"),
    "no binary digits": ("0b_", "not valid YAML"),
    "no hexadecimal digits": ("[0x_]", "not valid YAML"),
    "6,000 digits": ("9" * 6000, ""),
    "400 digits": ("a: " + "9" * 400, "more than 64 bits"),
    "20 digits": ("-" + "9" * 20, "more than 64 bits"),
    "a million characters": ("a: " + "x" * 1_000_000, "characters"),
    "300,000 values": ("[" + "x, " * 300_000 + "]", "more than 5,000"),
    "500 brackets": ("[" * 500, "deeper than 20 levels"),
    "500 brackets, closed": ("[" * 500 + "]" * 500, "deeper than 20 levels"),
    "100,000 brackets": ("[" * 100_000, ""),
    "500 braces": ("{a: " * 500 + "1" + "}" * 500, "deeper than 20 levels"),
    "50 dashes": ("- " * 50 + "x", "deeper than 20 levels"),
    "aliases that blow up": (BOMB, "more than 5,000"),
    "merged aliases that blow up": (MERGED, "more than 5,000"),
    "a list in itself": ("&a [*a]", "deeper than 20 levels"),
    "a mapping in itself": ("&a {b: *a}", "deeper than 20 levels"),
    "an alias of nothing": ("x: *nope", "undefined alias"),
    "merged numbers": ("{<<: 5}", "not valid YAML"),
    "a list as a key": ("? [a]\n: b", "not valid YAML"),
    "a mapping as a key": ("{{a: b}: c}", "not valid YAML"),
    "a number as a key": ("{1: 2}", "key 1 is not a text"),
    "nothing as a key": ("{~: 2}", "key None is not a text"),
    "yes as a key": ("{on: 2}", "key True is not a text"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "half a character": ('"\\ud800"', "not valid YAML"),
    "half a character, typed": ("\udcff", "not valid YAML"),
    "a zero byte": ("a\0b", "not valid YAML"),
    "an escape sequence": ("\x1b[31m", "not valid YAML"),
    "a tab": ("\t1", "not valid YAML"),
    "a quote": ("'", "not valid YAML"),
    "an escape that is none": ('"\\x"', "not valid YAML"),
    "a percent sign": ("%", "not valid YAML"),
    "an at sign": ("@x", "not valid YAML"),
    "a backtick": ("`x`", "not valid YAML"),
    "an open list": ("[1", "not valid YAML"),
    "a colon too many": ("a: b: c", "not valid YAML"),
}
JSON = {
    "100,000 brackets": ("[" * 100_000, "deeper than 20 levels"),
    "900 levels": ('{"a":' * 900 + "1" + "}" * 900, "deeper than 20 levels"),
    "21 levels": ("[" * 21 + "]" * 21, "deeper than 20 levels"),
    "6,000 digits": ("9" * 6000, "too large a number"),
    "20 digits": ("9" * 20, "more than 64 bits"),
    "20 digits below zero": ("-" + "9" * 19, "more than 64 bits"),
    "no number": ("NaN", "NaN is not a finite number"),
    "infinity": ("[-Infinity]", "is not a finite number"),
    "an infinite exponent": ("1e999", "is not a finite number"),
    "half a character": ('"\\ud800"', "half a character"),
    "half a character as a key": ('{"\\udfff": 1}', "half a character"),
    "nothing": ("", "not JSON"),
    "an open brace": ("{", "not JSON"),
    "two texts": ("{}{}", "not JSON"),
    "a comment": ("{} // x", "not JSON"),
    "a byte order mark": ("\ufeff{}", "not JSON"),
    "300,000 values": ("[" + "1," * 300_000 + "1]", "more than 200,000 values"),
}


@pytest.mark.parametrize(("text", "said"), YAML.values(), ids=YAML)
def test_yaml_that_is_no_plain_data(text, said):
    with pytest.raises(Unreadable) as refused:
        from_yaml(text)
    assert said in one_sentence(refused.value)


@pytest.mark.parametrize(("text", "said"), JSON.values(), ids=JSON)
def test_json_that_is_no_plain_data(text, said):
    with pytest.raises(Unreadable) as refused:
        from_json(text)
    assert said in one_sentence(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-99-99", "2024-99-99"), ("2024-01-01", "2024-01-01"), ("", None), ("# nothing", None), ("1e-4", "1e-4"), (".5", 0.5),
        ("on", True), ("~", None), ("1:30:00", "1:30:00"), ("1:30.5", "1:30.5"), ("010", "010"), ("-0.5", -0.5), ("0", 0),
        ("0x1F", 31), ("'on'", "on"), ("{a: 1, b: [2, x]}", {"a": 1, "b": [2, "x"]}), ("9223372036854775807", 2**63 - 1),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}), ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}), ("\ufeffx", "x"),
        ("- " * 19 + "x", None),
    ],
)  # fmt: skip
def test_yaml_that_is_plain_data(text, value):
    read = from_yaml(text)
    if value is None and text.startswith("- "):
        while isinstance(read, list):
            (read,) = read
        value = "x"
    assert read == value


# Settings

SETTINGS = {
    **{f"source={text[:300]}": said if len(text) < 300 else "" for text, said in YAML.values() if "\n" not in text},
    "training.learning_rate=1e308": "between 1e-30 and 1e+30",
    "training.learning_rate=1.0e+308": "between 1e-30 and 1e+30",
    "training.learning_rate=1e400": "training.learning_rate",
    "training.learning_rate=1e-320": "between 1e-30 and 1e+30",
    "training.learning_rate=-1": "greater than 0",
    "training.learning_rate=0": "greater than 0",
    "training.learning_rate=.nan": "finite number",
    "training.learning_rate=.inf": "finite number",
    "training.learning_rate=": "learning_rate = None",
    "training.learning_rate=[1]": "valid number",
    "training.learning_rate=# x": "learning_rate = None",
    "training.learning_rate=|": "valid number",
    "training.learning_rate={a: 1}": "a value, not a group",
    "training.weight_decay=1e39": "between 1e-30 and 1e+30",
    "training.clip_gradient=1e-320": "between 1e-30 and 1e+30",
    "training.momentum=1": "less than 1",
    "training.batch_size=9223372036854775807": "less than or equal to 65536",
    "training.batch_size=0": "greater than or equal to 2",
    "training.batch_size=0.5": "batch_size = 0.5",
    "training.batch_size=1e20": "valid integer",
    "training.score_every=1000000": "less than or equal to 100000",
    "training={schedule: warm-restarts, restart_factor: 99999999999}": "less than or equal to 1000",
    "training={schedule: warm-restarts, restart_epochs: 1e-300}": "between 1e-30 and 1e+30",
    "training={schedule: steps, milestones: [1e308]}": "between 1e-30 and 1e+30",
    "training={nesterov: true, momentum: 0}": "training.nesterov = True is not allowed: it wants the optimizer sgd, and a momentum above 0",
    "training={nesterov: true, optimizer: adam}": "it wants the optimizer sgd",
    "training.x[0]=1": "unknown key 'training.x[0]'",
    "tra\x1b[31mining.x=1": "unknown key 'tra\\x1b[31mining'. Did you mean 'training'?",
    "tuple[0]=1": "unknown key 'tuple[0]'",
    "training..x=1": "--set wants KEY=VALUE",
    "=1": "--set wants KEY=VALUE",
    "training": "--set wants KEY=VALUE",
    " training.momentum=0": "Did you mean 'training'?",
    "a" * 490 + "=1": "unknown key",
    "a" * 100_000 + "=1": "longer than 500 characters",
    ".".join(["a"] * 5000) + "=1": "longer than 500 characters",
    "source=" + "x" * 600: "longer than 500 characters",
    "source=" + "\N{EURO SIGN}" * 600: "longer than 500 characters",
    "source=" + "x" * 1_000_000: "characters",
    "__class__=1": "unknown key '__class__'",
    "model.__init__=1": "unknown key 'model.__init__'",
    "model.widths=[1000000000]": "less than or equal to 8192",
    "model.widths=[" + ",".join(["16"] * 100) + "]": "at most 16 items",
    "model.widths=[0]": "greater than or equal to 1",
    "model.widths=x": "valid tuple",
    "data.shapes.test=1e20": "data.shapes.test = '1e20' is not allowed",
    "data.shapes.test=100000000000000000000": "more than 64 bits",
    "data.shapes.test=1000000000": "less than or equal to 10000000",
    "data.shapes={test: 9000000, image_size: 1000}": "GB of images; at most 4",
    "data.shapes.image_size=1024": "GB of images; at most 4",
    "data.shapes.image_size=1000000": "less than or equal to 1024",
    "data.shapes.classes=1000000000": "less than or equal to 1000",
    "data.shapes.seed=99999999999": "less than or equal to 4294967295",
    "data.image_size=1000000000": "less than or equal to 4096",
    "data.validation=99999999999": "less than or equal to 10000000",
    "data.holdout=99999999999": "less than or equal to 10000000",
    "data.severities={a: {blur: 1e308}}": "less than or equal to 1000",
    "data.severities={a: {blur: 100000}}": "less than or equal to 1000",
    "data.severities={a: 3}": "group of settings: blur, noise",
    "data.severities={1: {}}": "key 1 is not a text",
    "data.severities={" + ", ".join(f"s{n}: {{}}" for n in range(200)) + "}": "100",
    "losses=3": "give losses by kind",
    "losses={budget: {weight: 1e40, target: 0.5}}": "between 1e-30 and 1e+30",
    "losses={'budget[]': 3}": "Did you mean 'budget'?",
    "study=3": "nothing to choose",
    "parents=3": "group of settings",
    "parents={weights: 3}": "group of settings: model, config",
    "parents={weights: {config: 5}}": "parents.weights.config = 5",
    "parents={weights: {config: default, seed: 99999999999}}": "less than or equal to 4294967295",
    "parents={weights: {config: default, epochs: 9999999}}": "less than or equal to 100000",
    "tradeoff=nosuch": "there is no setting 'nosuch'",
    "tradeoff=a..b": "there is no setting 'a..b'",
    "tradeoff=model": "neither a number nor a list",
    "baseline=[1]": "valid string",
}
OF_MODELS = [
    ("cosinegate", "model.depth=99999999998", "less than or equal to 1202"),
    ("cosinegate", "model.depth=-4", "greater than or equal to 1"),
    ("cosinegate", "model.depth=.inf", "finite"),
    ("cosinegate", "model.gate.kind=x", "'cir', 'predictive'"),
    ("cosinegate", "model.gate={kind: cir, gamma: 1e40}", "between 1e-30 and 1e+30"),
    ("cosinegate", "model.gate={kind: cir, temperature: 1e-320}", "between 1e-30 and 1e+30"),
    ("cosinegate", "model.gate={kind: cir, controller: [1000000]}", "less than or equal to 1024"),
    ("cosinegate", "model.gate={kind: predictive, hidden: 100000000}", "less than or equal to 8192"),
    ("cosinegate", "model.gate={kind: cir, 'x[]': 1}", "unknown key 'model.gate.x[]'"),
    ("lag-vgg11", "model.width=.inf", "finite number"),
    ("lag-vgg11", "model.width=1e9", "less than or equal to 16"),
    ("lag-vgg11", "model.width=1e-300", "between 1e-30 and 1e+30"),
    ("lag-vgg11", "model.gate={kind: input, reduction: 1000000000}", "less than or equal to 8192"),
    ("cgt", "model.backbone={kind: cnn, convolutions: 100000}", "less than or equal to 100"),
    ("cgt", "model.backbone={kind: resnet, depth: 100000}", "less than or equal to 1202"),
    ("cgt", "study={kind: exits, budgets: [1e-320]}", "between 1e-30 and 1e+30"),
    ("router", "model.latency_ms=[1e-320, 1]", "between 1e-30 and 1e+30"),
    ("router", "model.latency_ms=x", "model.latency_ms = 'x' is not allowed"),
    ("router", "model.gater={kind: learned, size: 1000000000}", "less than or equal to 4096"),
    ("expert", "model.size=1000000000", "less than or equal to 4096"),
]


def setting(model, change):
    """A recipe with one --set, every option of its model spelled out."""
    entry = registry.entry(model)
    return recipe.load(entry.recipes, model, entry.default, [change]).resolved()


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [*(("resnet8", change, said) for change, said in SETTINGS.items()), *OF_MODELS],
    ids=lambda text: ascii(text[:60]).replace("::", ":"),
)
def test_settings_that_are_not_allowed(model, change, said):
    with pytest.raises(UsageError) as refused:
        setting(model, change)
    assert said in one_sentence(refused.value)


WRONG, RIGHT = "training.learning_rate=fast", "training.batch_size=8"


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ([WRONG], f"--set {WRONG} of recipe default: training.learning_rate = 'fast' is not allowed"),
        ([RIGHT, WRONG, "data.nam=3"], f"--set {WRONG} of recipe default: training.learning_rate = 'fast' is not allowed"),
        (["training.momentun=0.5"], "--set training.momentun=0.5 of recipe default: unknown key 'training.momentun'. Did you mean 'mom"),
        (["training={learning_rate: fast}", RIGHT], "--set training={learning_rate: fast} of recipe default: training.learning_rate = 'fa"),
        (["losses.nosuch.weight=x"], "--set losses.nosuch.weight=x of recipe default: unknown key 'losses.nosuch'"),
        (["study.x=3"], "--set study.x=3 of recipe default: study: there is nothing to choose"),
        (["tradeoff=model"], "--set tradeoff=model of recipe default: tradeoff: model = "),
        (["data.name2=" + "x" * 400], f"--set data.name2={'x' * 69}... of recipe default: unknown key 'data.name2'"),
        (["training.momentum=0", "training.nesterov=true"], "--set training.momentum=0 of recipe default: training.nesterov = True"),
        ([RIGHT, "training.nesterov=true", "training.optimizer=adam"], "--set training.nesterov=true of recipe default: training.nest"),
    ],
    ids=lambda part: ascii(part[0])[:40] if isinstance(part, list) else "",
)
def test_a_setting_that_is_not_allowed_is_blamed_on_the_option_that_gave_it(changes, blamed):
    with pytest.raises(UsageError) as refused:
        recipe.load("resnet", "resnet8", "default", changes)
    assert one_sentence(refused.value).startswith(f"In {blamed}")
    with pytest.raises(UsageError) as refused:
        recipe.changed(recipe.load("resnet", "resnet8", "default"), changes)
    assert one_sentence(refused.value).startswith(f"In {blamed}")


def test_what_a_recipe_has_wrong_itself_is_blamed_on_it(tmp_path):
    (tmp_path / "own.yaml").write_text("training: {learning_rate: fast}")
    with pytest.raises(UsageError, match=rf"^In {tmp_path}/own.yaml: training.learning_rate = 'fast' is not allowed"):
        recipe.load("resnet", "resnet8", f"{tmp_path}/own.yaml", [RIGHT])
    with pytest.raises(UsageError, match=r"^In --set training.learning_rate=slow of .*own.yaml: training.learning_rate = 'slow' is not"):
        (tmp_path / "own.yaml").write_text("training: {learning_rate: 0.1}")
        recipe.load("resnet", "resnet8", f"{tmp_path}/own.yaml", ["training.learning_rate=slow"])


def test_more_changes_than_a_row_holds():
    with pytest.raises(UsageError, match="changes"):
        recipe.changed(setting("resnet8", "source=x"), [f"source={number}x" for number in range(101)])


@pytest.mark.parametrize(
    ("model", "change"), [("cosinegate", "model={depth: 1202, widths: [512, 1024, 2048]}"), ("vgg11", "model.width=16")]
)
def test_networks_beyond_a_billion_weights(model, change):
    parsed = setting(model, change)
    with pytest.raises(UsageError, match="it would have .* million weights; 1,000 are the most. Make it smaller"):
        registry.create(model, **parsed.model.options)


def test_a_sentence_repeats_only_the_beginning_of_a_long_value():
    with pytest.raises(UsageError) as refused:
        recipe.parse({"name": "x", "model": {"name": "resnet8"}, "training": {"x" * 10_000: 1}}, "recipe x")
    assert len(str(refused.value)) < 1000
    with pytest.raises(UsageError) as refused:
        registry.entry("x" * 10_000)
    assert len(str(refused.value)) < 2500


# Files in the place of recipes, run folders and weights


def pipe(path):
    os.mkfifo(path)


def sparse(path):
    """3 GB that take no room."""
    with open(path, "wb") as stream:
        stream.truncate(3 << 30)


def listening(path):
    """A socket, whose path may be longer than sockets allow."""
    before = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(path.name)
    os.chdir(before)


def of(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


NO_FILES = {
    "missing": lambda path: None,
    "pipe": pipe,
    "folder": lambda path: path.mkdir(),
    "3 GB": sparse,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling": lambda path: path.symlink_to("/nowhere/at/all"),
    "loop": lambda path: path.symlink_to(path),
    "socket": listening,
}
NO_TEXTS = {
    "not UTF-8": of(b"\xff\xfe\xe9"),
    "zeros": of(b"\0" * 1000),
    "tag": of("source: !!bool x\n"),
    "deep": of("[" * 100_000),
    "deep, closed": of('{"a":' * 50_000 + "1" + "}" * 50_000),
    "6,000 digits": of("9" * 6000),
    "aliases": of(BOMB),
    "escapes": of("\x1b[31mred\x1b[0m\x07\n"),
}
NO_OBJECTS = {
    "empty": of(""),
    "number": of("5"),
    "null": of("null"),
    "list": of("[]"),
    "words": of("this is no such file\n"),
    "long cell": of('a,b\n1,"' + "x" * 200_000),
}
KINDS = {**NO_FILES, **NO_TEXTS, **NO_OBJECTS}


def placed(kind, path):
    """Puts what is no such file in the place of a file."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    KINDS[kind](path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_that_is_none(tmp_path, kind):
    path = placed(kind, tmp_path / "mine.yaml")
    if kind == "empty":
        path.write_text("# nothing")
    with pytest.raises(UsageError, match="mine.yaml") as refused:
        recipe.load("resnet", "resnet8", str(path))
    one_sentence(refused.value)


@pytest.mark.parametrize("name", ["~nosuchuser/x.yaml", "x" * 300 + ".yaml", "d/" * 2000 + "x.yaml", "a\0b.yaml", "/", "./"])
def test_paths_that_cannot_be(name):
    with pytest.raises(UsageError) as refused:
        recipe.load("resnet", "resnet8", name)
    assert any(each in str(refused.value) for each in ("Cannot read recipe", "no such home folder"))


def test_home_folders(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="~nosuchuser/x: there is no such home folder. Write the path in full"):
        data_root(Path("~nosuchuser/x"))

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("GATEBENCH_DATA", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert data_root(None) == tmp_path / "gatebench"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
@pytest.mark.parametrize("name", ["rows.jsonl", "columns.json", "recipe.yaml", "epochs.csv", "times/desk.jsonl"])
def test_one_bad_file_of_a_run_spoils_no_other_run(tmp_path, name, kind):
    good, bad = write_run(tmp_path / "good", [{}]), write_run(tmp_path / "bad", [{}], seed=1)
    placed(kind, bad / name)
    runs, left_out = read_runs(tmp_path)
    assert runs[-1].folder.path == good and len(runs[-1].times) == 1 and runs[-1].resolved and runs[-1].epochs
    if name in ("rows.jsonl", "columns.json"):
        if not (name == "columns.json" and kind in ("list", "dangling")):
            assert len(runs) == 1 and len(left_out) == 1
    elif name == "times/desk.jsonl":
        assert len(runs) == 2 and runs[0].times == [] and len(left_out) == 1
    else:
        assert len(runs) == 2 and left_out == [] and {"recipe.yaml": runs[0].resolved, "epochs.csv": runs[0].epochs}[name] in ({}, [])
    for line in left_out:
        assert line.startswith("bad: ") and line.isprintable() and len(line) < 500


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, kind) for name in ("summary.json", "machine.json", "identity.json", "data.json") for kind in KINDS),
     *(("breakdown.csv", kind) for kind in (*NO_FILES, "empty", "long cell", "not UTF-8"))],
)  # fmt: skip
def test_files_of_a_run_that_are_none_are_named(tmp_path, name, kind):
    folder, path = RunFolder(tmp_path), placed(kind, tmp_path / name)
    with pytest.raises(GatebenchError) as refused:
        folder.read_csv(name) if name.endswith(".csv") else folder.read_json(name, digest=str)
    assert f"{path} cannot be read (" in one_sentence(refused.value) and "--fresh" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["summary.json", "recipe.yaml", "data.json", "model.safetensors"])
def test_a_run_with_a_file_that_is_none_is_no_parent_and_is_not_timed(static_run, tmp_path, name, kind):
    folder = RunFolder(copied(static_run, tmp_path))
    placed(kind, folder / name)
    with pytest.raises(GatebenchError, match=name) as refused:
        folder.headline()
        trained.load_run(folder)
    one_sentence(refused.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("data.json", "pipe"), ("recipe.yaml", "tag"), ("model.safetensors", "words"), ("summary.json", "3 GB")]
)
def test_a_parent_with_a_file_that_is_none_is_named(gatebench, static_run, tmp_path, name, kind):
    parent = copied(static_run, tmp_path / "out")
    placed(kind, parent / name)
    command = ["train", "resnet8", *STATIC, "--set", "parents={weights: {config: default}}", "--out", str(parent.parent)]
    done = gatebench(*command)
    assert done.returncode in (1, 2) and str(parent / name) in done.stderr and "unexpectedly" not in done.stderr


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data.json", {"classes": 5}), ("data.json", {"classes": [1, 2]}), ("data.json", {"input_shape": 3}),
        ("data.json", {"input_shape": [3, 16]}), ("data.json", {"input_shape": [3, 10**9, 10**9]}),
        ("data.json", {"input_shape": [3, 0, 16]}), ("data.json", {"mean": "x"}), ("data.json", {"std": [None]}),
        ("data.json", {"fingerprint": 5}),
        ("summary.json", {"seed": "x"}), ("summary.json", {"accuracy": 1e308}), ("summary.json", {"model": 5}),
        ("summary.json", {"audit": "x"}), ("summary.json", {"macs_executed": 1e-320}), ("summary.json", {"epochs": -1}),
    ],
)  # fmt: skip
def test_values_of_other_types_than_a_run_s_are_named(static_run, tmp_path, name, change):
    folder = RunFolder(copied(static_run, tmp_path))
    folder.write_text(name, json.dumps({**json.loads((folder / name).read_text()), **change}))
    with pytest.raises(GatebenchError, match=f"{name} cannot be read .*{next(iter(change))}"):
        folder.headline()
        trained.load_run(folder)


@pytest.mark.parametrize("parents", [["x"], {"weights": 5}, {"small": None}, "x", 5])
def test_parents_of_other_types_are_named(tmp_path, parents):
    (tmp_path / "identity.json").write_text(json.dumps({"digest": "0a", "parents": parents}))
    with pytest.raises(GatebenchError, match="its 'parents' is not what it should be"):
        RunFolder(tmp_path).read_json("identity.json", digest=str, parents=dict[str, str])


def test_a_run_that_contains_itself_is_named(static_run, tmp_path, monkeypatch):
    folder = RunFolder(copied(static_run, tmp_path))
    monkeypatch.setattr(trained, "contained", lambda each: {"network": each})
    with pytest.raises(GatebenchError, match="contains itself"):
        trained.load_run(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_whose_machine_is_not_known_is_gone_on_with_or_named(tmp_path, kind):
    (tmp_path / "run").mkdir()
    placed(kind, tmp_path / "run" / "machine.json")
    try:
        assert choose_folder(tmp_path, "run", "here", False, False).path == tmp_path / "run"  # begun by nobody
        assert kind in NO_FILES and kind != "3 GB"
    except GatebenchError as error:
        assert "machine.json cannot be read" in str(error) and "--fresh" in str(error)
    assert choose_folder(tmp_path, "run", "here", True, False).path == tmp_path / "run-2"


@pytest.mark.parametrize("kind", [*NO_FILES, "empty", "words", "deep", "zeros"])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_weights_that_are_none(tmp_path, ending, kind):
    path = placed(kind, tmp_path / f"weights{ending}")
    for read in (read_weights, file_digest) if kind in NO_FILES and kind != "3 GB" else (read_weights,):
        with pytest.raises(GatebenchError, match="weights") as refused:
            read(path)
        one_sentence(refused.value)


ROWS = [
    ("macs_executed", 1e-320), ("macs_executed", 5e-324), ("macs_executed", -1), ("macs_executed", 1e300), ("macs_executed", "1"),
    ("macs_executed", None), ("macs_executed", True), ("macs_executed", [1]), ("macs_dense", 1e-320), ("macs_dense", 0),
    ("macs_decided", 1e-320), ("macs_gate", 1e-310), ("macs_ratio", 1e31), ("skip_pct", -1e200), ("params", 10**400), ("params", 1.5),
    ("params", -1), ("accuracy", 1e308), ("accuracy", -0.001), ("accuracy", "91"), ("seed", 10**31), ("seed", 0.5), ("epochs", 10**31),
    ("tradeoff", 1e308), ("shares", [1e308]), ("shares", [0.5]), ("share_names", ["a"]), ("audit", "x"), ("audit", ["x"] * 101),
    ("changes", ["x" * 501]), ("model", "x" * 501), ("model", 5), ("adaptive", "yes"), ("training_seconds", 1e300), ("digest", None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ROWS, ids=lambda part: str(part)[:20])
def test_rows_that_cannot_be_computed_with_are_left_out_alone(tmp_path, key, value):
    write_run(tmp_path / "good")
    write_run(tmp_path / "bad", **{key: value})
    runs, (line,) = read_runs(tmp_path)
    assert [run.name for run in runs] == ["good"] and line.startswith("bad: ") and (key in line or "share" in line)


@pytest.mark.parametrize("key", ["latency_ms", "energy_mj", "speedup", "latency_p90", "cost_units_ms", "calls", "batch_size"])
@pytest.mark.parametrize("value", [1e300, "x", 1e-320])
def test_times_that_cannot_be_computed_with_are_left_out_alone(tmp_path, key, value):
    write_run(tmp_path / "run", [{key: [value] if key == "cost_units_ms" else value}])
    ((run,), left_out) = read_runs(tmp_path)
    if value == 1e-320 and key == "cost_units_ms":
        assert len(run.times) == 1 and left_out == []  # nothing is divided by it
    else:
        assert run.times == [] and len(left_out) == 1 and key in left_out[0]


def test_report_and_pareto_show_what_is_good_and_name_what_is_left_out(gatebench, tmp_path):
    results = tmp_path / "results"
    write_run(results / "good", [{}])
    bad = [f"{name} {kind}".replace(",", "") for name in ("rows.jsonl", "summary.json") for kind in KINDS]
    for number, (name, kind) in enumerate((name, kind) for name in ("rows.jsonl", "summary.json") for kind in KINDS):
        placed(kind, write_run(results / bad[number], seed=number + 1, recipe=f"r{number}") / name)
    kept = [f"summary.json {kind}".replace(",", "") for kind in KINDS if kind not in NO_FILES or kind == "3 GB"]  # its rows are read
    for command in (["pareto", str(results), "--out", str(tmp_path / "front.svg")], ["report", str(results), "--format", "md"]):
        done = gatebench(*command)
        assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr, done.stderr
        named = [line for line in done.stderr.splitlines() if "left out: " in line]
        assert sorted(line.split("left out: ")[1].split(":")[0] for line in named) == sorted(set(bad) - set(kept))
    assert "cosinegate balanced" in (results / "report" / "report.md").read_text()


# Folders and files that may not be looked into: a process of root may do all, so that the system's refusal is put in its place


@pytest.fixture
def denied(monkeypatch, tmp_path):
    """Below a folder named "denied" nothing may be done; there is one in the working directory, and in results/."""
    monkeypatch.chdir(tmp_path)
    for path in ("denied", "results/denied"):
        (tmp_path / path).mkdir(parents=True)
    write_run(tmp_path / "results" / "good")

    def refusing(function):
        def wrapped(path, *arguments, **options):
            parts = Path(os.fsdecode(path)).parts if isinstance(path, (str, bytes, os.PathLike)) else ()
            if "denied" in parts and (parts[-1] != "denied" or function.__name__ not in ("stat", "lstat")):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return wrapped

    for name in ("stat", "lstat", "open", "listdir", "scandir", "mkdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    for module in ("builtins", "io"):
        monkeypatch.setattr(f"{module}.open", refusing(io.open))


@pytest.mark.parametrize("command", ["report", "pareto"])
def test_a_run_that_may_not_be_opened_is_left_out_alone(gatebench, denied, command):
    done = gatebench(command, "results", "--out", "page.md" if command == "report" else "front.svg")
    assert done.returncode == 0, done.stderr
    assert "left out: denied: it cannot be opened: Permission denied" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "denied"], 2, "The folder denied cannot be opened: Permission denied. Name one that may be read."),
        (["pareto", "denied/results"], 2, "The folder denied/results cannot be opened: Permission denied"),
        (["profile-latency", "denied", "--dataset", "shapes"], 2, "The folder denied cannot be opened: Permission denied"),
        (["train", "resnet8", *STATIC, "--config", "denied/x.yaml"], 2, "Cannot read recipe denied/x.yaml: Permission denied"),
        (["train", "resnet8", *STATIC, "--weights", "denied/x.pt"], 2, "Cannot read the weights at denied/x.pt: Permission denied"),
        (["train", "resnet8", *STATIC, "--out", "denied"], 1, "Cannot write"),
        (["train", "resnet8", *STATIC[2:], "--dataset", "denied/set"], 2, "Permission denied"),
    ],
    ids=lambda part: " ".join(each for each in part if each not in STATIC) if isinstance(part, list) else "",
)
def test_what_may_not_be_read_or_written_is_named(gatebench, denied, arguments, code, said):
    assert said in gatebench.refused(*arguments, code=code)


@pytest.mark.parametrize("name", ["times", "times/desk.jsonl", "rows.jsonl"])
def test_a_file_of_a_run_that_may_not_be_opened_is_named(tmp_path, monkeypatch, name):
    write_run(tmp_path / "good", [{}])
    run = write_run(tmp_path / "run", [{}])

    def refusing(function):
        def wrapped(path, *arguments, **options):
            if Path(path) == run / name:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return wrapped

    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    monkeypatch.setattr("builtins.open", refusing(io.open))
    runs, (line,) = read_runs(tmp_path)
    assert runs[0].name == "good" and line.startswith("run: ") and "Permission denied" in line
    assert len(runs) == (1 if name == "rows.jsonl" else 2)


# What people type

TYPED = [
    (["train", "resnet8", "--threads", "1024"], "twice the cores of this machine, not 1024" if most_threads() < 1024 else None),
    (["profile-latency", "resnet8", "--threads", "1,4096"], f"--threads wants whole numbers from 1 to {most_threads()}"),
    (["train", "resnet8", "--threads", "0"], "Invalid value for '--threads'"),
    (["train", "resnet8", "--epochs", "1000000000000000000"], "Invalid value for '--epochs'"),
    (["profile-latency", "resnet8", "--inputs", "1000000000000000000"], "Invalid value for '--inputs'"),
    (["profile-latency", "resnet8", "--repeats", "1000000000000000000"], "Invalid value for '--repeats'"),
    (["profile-latency", "resnet8", "--max-seconds", "inf"], "Invalid value for '--max-seconds'"),
    (["profile-latency", "resnet8", "--max-seconds", "nan"], "Invalid value for '--max-seconds'"),
    (["profile-latency", "resnet8", "--batch-size", "9" * 5000], "--batch-size wants whole numbers"),
    (["train", "resnet8", "--seed", "1e3"], "--seed wants whole numbers"),
    (["train", "resnet8", "--seed", "\x1b[31m1"], "--seed wants whole numbers"),
    (["train", "\x1b[31mresnet8"], "No model is named"),
    (["train", "resnet8", "--device", "\x1b]0;title\x07"], "--device wants auto, cpu or cuda"),
    (["train", "resnet8", "--config", "\x1b[31m"], "No recipe of resnet is named"),
    (["train", "resnet8", "--config", "\x1b[31m.yaml"], "Cannot read recipe"),
    (["train", "resnet8", "--config", "[/red].yaml"], "Cannot read recipe [/red].yaml"),
    (["train", "resnet8", "--set", "\x1b[31m"], "--set wants KEY=VALUE"),
    (["train", "resnet8", "--set", "source=\x1b[31m"], "not valid YAML"),
    (["train", "resnet8", "--dataset", "[/red]"], "There is no folder or .npz file at [/red]."),
    (["train", "resnet8", "--dataset", "\udcff\udcfe"], "is not UTF-8"),
    (["train", "resnet8", "--dataset", "x" * 1000], "480 are the most"),
    (["train", "resnet8", "--dataset", "~nosuchuser/x"], "~nosuchuser/x is no path of a data set"),
    (["train", "resnet8", "--dataset", "shapes", "--data-dir", "~nosuchuser/x"], "there is no such home folder"),
    (["list", "datasets", "--data-dir", "~nosuchuser"], "there is no such home folder"),
    (["train", "resnet8", *STATIC, "--weights", "/dev/zero"], "it is no regular file"),
    (["train", "resnet8", *STATIC, "--weights", "x" * 300], "File name too long"),
    (["report", "x" * 300], "File name too long"),
    (["pareto", "/dev/zero"], "There is no folder /dev/zero"),
    (["pareto", "\x1b[31m"], "There is no folder"),
    (["report", "[/red]"], "There is no folder [/red]"),
    (["profile-latency", "~nosuchuser", "--dataset", "shapes"], "neither a run folder"),
    (["\x1b[31m"], "No such command"),
    (["train", "--\x1b[31m"], "No such option"),
    (["list", "\x1b[31m"], "list wants models, recipes, datasets or columns"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), TYPED, ids=[ascii(" ".join(arguments))[:70] for arguments, _ in TYPED])
def test_what_people_type_gets_a_sentence_without_control_characters(gatebench, tmp_path, monkeypatch, arguments, said):
    if said is None:
        pytest.skip("this machine has so many cores")
    monkeypatch.chdir(tmp_path)
    done = gatebench(*arguments)
    shown = done.stderr.replace("│ ", "").replace(" │", "")
    assert done.returncode == 2 and said in " ".join(shown.split()) and "unexpectedly" not in shown
    assert all(each.isprintable() for each in shown.replace("\n", ""))


def test_on_a_cluster_threads_are_not_those_of_this_machine():
    from gatebench.cli.training import choose_executor

    with pytest.raises(UsageError, match="twice the cores"):
        choose_executor("local", None, most_threads() + 1)
    with contextlib.suppress(UsageError):  # Ray is not installed
        choose_executor("ray", None, most_threads() + 1)


# The terminal

ODD = "a\x1b[31mred\x1b[0m\x07\r\x08\u202eb\x9b2J[/x]\udcff\x00"


@pytest.mark.parametrize("width", [20, 80])
def test_no_console_of_ours_shows_control_characters(width):
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = Terminal(file=out, markup=False, force_terminal=True, color_system=None, width=width)
    table = Table(title=ODD)
    table.add_column(ODD)
    table.add_row(ODD)
    for each in (ODD, Text(ODD), table):
        console.print(each)
    with console.status(ODD):
        console.print(ODD, style="bold red", soft_wrap=True)
    shown = out.getvalue()
    for own in ("\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\r", "\n"):  # of the status: it hides the cursor and clears its line
        shown = shown.replace(own, "")
    assert shown.isprintable() and "[/x]" in shown and "\N{REPLACEMENT CHARACTER}[31mred" in shown.replace(" ", "")


def test_class_names_and_paths_are_shown_without_control_characters(gatebench, static_run, tmp_path):
    folder = copied(static_run, tmp_path / "\x1b[31mout[/x]")
    (folder / "breakdown.csv").write_text((folder / "breakdown.csv").read_text().replace("solid-3", "\x1b]0;owned\x07[/x]"))
    done = gatebench("train", "resnet8", *STATIC, "--details", "--out", str(folder.parent))
    assert done.returncode == 0 and "]0;owned" in done.stdout and "out[/x]" in done.stdout
    assert all(each.isprintable() for each in (done.stdout + done.stderr).replace("\n", ""))


def test_a_class_name_of_a_data_set_is_shown_without_control_characters(gatebench, tmp_path):
    data = tmp_path / "set\x1b[1m"
    for part in ("train", "test"):
        for name in ("\x1b[31mred", "[red]"):
            (data / part / name).mkdir(parents=True)
            for index in range(8):
                Image.new("RGB", (16, 16), (index, 0, 0)).save(data / part / name / f"{index}.png")
    command = ["train", "resnet8", "--dataset", str(data), "--set", "training.batch_size=8", "--epochs", "1"]
    done = gatebench(*command, "--details", "--threads", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "[31mred" in done.stdout and "[red]" in done.stdout
    assert all(each.isprintable() for each in (done.stdout + done.stderr).replace("\n", ""))


# Memory


@pytest.mark.parametrize(
    "error",
    [MemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
     torch.OutOfMemoryError("CUDA out of memory"), ValueError("Maximum allowed size exceeded")],
)  # fmt: skip
def test_of_nested_needs_for_memory_the_innermost_is_named(error):
    with pytest.raises(GatebenchError, match="^There is not enough memory for a small thing. Make it smaller.$"), \
         needs_memory("everything", "Do nothing"), needs_memory("a small thing", "Make it smaller"):  # fmt: skip
        raise error
    with pytest.raises(ZeroDivisionError), needs_memory("everything", "Do nothing"):
        raise ZeroDivisionError


def out_of_memory(*arguments, **options):
    raise MemoryError


@pytest.mark.parametrize(
    ("fails", "arguments", "said"),
    [
        ("gatebench.data.catalogue.make_shapes", [], "for the images of shapes. Give a smaller data.shapes.train, test or image_size"),
        ("gatebench.models.backbones.resnet.ResidualBlock", ["--set", "model.widths=[8, 8, 8]"], "for the network resnet8 with model."),
        ("torch.load", ["--weights", "w.pt"], "for the weights in w.pt"),
        ("gatebench.training.loop.Trainer.step", ["--fresh"], "for training on batches of 32. Give a smaller --set training.batch_size"),
        ("gatebench.stages.collect", ["--fresh"], "for scoring batches of 250"),
    ],
)  # fmt: skip
def test_what_memory_was_wanted_for_is_named(gatebench, tmp_path, monkeypatch, fails, arguments, said):
    from gatebench.data import reading

    reading._read.cache_clear(), reading._original.cache_clear(), reading._describe.cache_clear()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"weights")
    monkeypatch.setattr(fails, out_of_memory)
    assert f"There is not enough memory {said}" in gatebench.refused("train", "resnet8", *STATIC, *arguments, "--out", "o", code=1)


def test_what_a_batch_of_a_profile_needs_is_named(gatebench, static_run, tmp_path, monkeypatch):
    run = copied(static_run, tmp_path)
    monkeypatch.setattr("gatebench.measure.exclusive.LOCK", tmp_path / "lock")  # nothing is timed that another timing could disturb
    monkeypatch.setattr("gatebench.profiling.together.Together.run", out_of_memory)
    said = gatebench.refused("profile-latency", str(run), "--batch-size", "8", "--threads", "1", code=1)
    assert "There is not enough memory for batches of 8. Give a smaller --batch-size" in said


# Streams


def process(command, **environment):
    """`gatebench` in a shell that redirects it; its exit code and what stands on stderr."""
    start = f"{sys.executable} -m gatebench"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('gatebench', start, 1)}"], env={**os.environ, **environment},
        capture_output=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr.decode(), done.stdout


FULL = "gatebench: the output cannot be written: No space left on device."


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("gatebench list models > /dev/full", 1, FULL),
        ("gatebench list models | true", 1, ""),
        ("gatebench --help > /dev/full", 1, FULL),
        ("gatebench list nosuch 2> /dev/full", 2, ""),
        ("cd $(mktemp -d) && rmdir $PWD && gatebench list models", 2, "The working directory is gone. Change into one that is there."),
    ],
)
def test_streams_that_end(command, code, said):
    assert Path("/dev/full").exists() or pytest.skip("there is no /dev/full")
    ended, err, _ = process(command)
    assert (ended, " ".join(err.split())) == (code, said) or (ended == code and said and said in err and len(err.splitlines()) == 1)


def test_characters_that_the_output_cannot_hold_are_replaced(monkeypatch):
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written if name == "stdout" else io.BytesIO(), encoding="ascii"))
    with streams():
        Terminal(markup=False).print("91.2 \N{PLUS-MINUS SIGN} 0.3 %, 3 \N{MICRO SIGN}s, \N{GREEK SMALL LETTER LAMDA}")
    assert written.getvalue() == b"91.2 +- 0.3 %, 3 us, ?\n"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two seeds of a recipe whose name is not ASCII."""
    results = tmp_path_factory.mktemp("wide")
    for seed in (0, 1):
        write_run(results / f"run-{seed}", [{}], seed=seed, recipe="\u00e9t\u00e9")
    return results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "environment", "code", "said", "shows"),
    [
        ("gatebench pareto RESULTS --json | true", {}, 1, "", b""),
        ("gatebench pareto RESULTS | true", {}, 1, "", b""),
        ("gatebench pareto RESULTS --json > /dev/full", {}, 1, FULL, b""),
        ("gatebench report RESULTS > /dev/full", {}, 1, FULL, b""),
        ("gatebench report RESULTS > /dev/full 2>&1", {}, 1, "", b""),
        ("gatebench pareto nowhere 2>&1 | true", {}, 2, "", b""),
        ("gatebench train nosuch 2> /dev/full", {}, 2, "", b""),
        ("gatebench pareto RESULTS >&-", {}, 0, "", b""),
        ("gatebench pareto nowhere 2>&-", {}, 2, "", b""),
        ("gatebench pareto RESULTS <&- >&- 2>&-", {}, 0, "", b""),
        ("gatebench pareto RESULTS", {"PYTHONIOENCODING": "ascii"}, 0, "", b"?t?"),
        ("gatebench pareto RESULTS", {"PYTHONIOENCODING": "ascii:strict"}, 0, "", b"?t?"),
        ("gatebench pareto RESULTS", {"PYTHONIOENCODING": "cp1252"}, 0, "", b"\xe9t\xe9"),
        ("gatebench pareto RESULTS", {"MPLBACKEND": "nonsense"}, 0, "", b"front"),
        ("gatebench report RESULTS", {"MPLBACKEND": "module://nosuch"}, 0, "", b"written to"),
        ("gatebench pareto RESULTS", {"COLUMNS": "1"}, 0, "", b"front"),
        ("gatebench pareto RESULTS", {"COLUMNS": "-5"}, 0, "", b"front"),
        ("gatebench pareto RESULTS", {"TERM": "nonsense", "FORCE_COLOR": "1"}, 0, "", b"front"),
        ("gatebench pareto RESULTS", {"HOME": "/nowhere", "TMPDIR": "/nowhere"}, 0, "", b"front"),
    ],
)  # fmt: skip
def test_streams_and_environments(wide, tmp_path, command, environment, code, said, shows):
    results = shutil.copytree(wide, tmp_path / "results")
    ended, err, out = process(command.replace("RESULTS", str(results)), **environment)
    assert (ended, " ".join(err.split())) == (code, said) and shows in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "x/y"), 1, "gatebench: x/y: Permission denied. Name another file or folder"),
        (OSError(36, "File name too long", "x"), 1, "gatebench: x: File name too long."),
        (OSError(5, "Input/output error"), 1, "gatebench: the output cannot be written: Input/output error."),
        (OSError("timed out"), 1, "gatebench: timed out. Name another file or folder"),
        (RecursionError("deep"), 1, "this failed unexpectedly: RecursionError: deep"),
        (MemoryError(), 1, "gatebench: there is not enough memory. End other programs"),
    ],
)
def test_errors_of_the_system_are_sentences(gatebench, monkeypatch, error, code, said):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(library, "available", fail)
    assert said in gatebench.refused("list", "recipes", code=code)


def test_a_home_that_is_not_known_does_not_matter_to_shapes(gatebench, tmp_path, monkeypatch):
    def homeless(*arguments):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gatebench.environment.pop("GATEBENCH_DATA")
    monkeypatch.delenv("GATEBENCH_DATA", raising=False)
    (row,) = gatebench.json("train", "resnet8", *STATIC, "--out", str(tmp_path / "out"))
    assert row["dataset"] == "shapes"


def test_data_of_shapes_have_bounds_that_defaults_keep():
    assert Data().shapes.test == 2000 and plain_data.fits([1, 2], list[int]) and not plain_data.fits([1.5], list[int])
