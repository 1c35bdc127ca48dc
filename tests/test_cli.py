"""The command line as a user runs it."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from conftest import GATED, SMALL, STATIC, copied

from gatebench import cli


def imported(*arguments):
    """What of the heavy modules a command of a fresh Python has imported in the end, and its seconds of CPU."""
    code = f"""
import sys, time
from gatebench.cli import app
app({list(arguments)!r}, standalone_mode=False)
heavy = [name for name in ("torch", "pandas", "scipy", "matplotlib", "numpy", "pydantic") if name in sys.modules]
print(*heavy, time.process_time())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *modules, seconds = done.stdout.splitlines()[-1].split()
    return set(modules), float(seconds)


def test_help_imports_nothing_heavy(gatebench_process):
    done = gatebench_process("--help")
    assert done.returncode == 0 and "train" in done.stdout and "list" in done.stdout
    assert imported("--help")[0] == set()


@pytest.mark.parametrize("kind", ["models", "recipes"])
def test_names_are_listed_in_a_moment(kind):
    modules, seconds = imported("list", kind)
    assert modules == {"pydantic"} and seconds < 1.5


def test_version_and_short_help(gatebench):
    assert gatebench("--version").stdout == f"gatebench {version('gatebench')}\n"
    assert gatebench("train", "-h").stdout == gatebench("train", "--help").stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_groups_options_and_ends_with_examples_and_exit_codes(gatebench, name):
    shown = " ".join(gatebench(name, "--help").stdout.split())
    assert shown.endswith("(143 and 129: by SIGTERM and SIGHUP).") and "Exit codes: 0 done" in shown
    _, examples = cli.COMMANDS[name]
    for example in examples:
        assert f"gatebench {example}" in shown
        options = [word for word in example.split() if word.startswith("--")]
        assert example.startswith(name) and all(f"{option} " in shown for option in options)
    assert name == "list" or "─ Results ─" in shown
    assert name in ("pareto", "report", "export", "list") or "─ Where to compute ─" in shown
    assert ("3 times too noisy to tell" in shown) == (name == "profile-latency")


def test_data_sets_are_listed_without_torch():
    assert "torch" not in imported("list", "datasets")[0]


def test_list(gatebench):
    models, recipes, datasets = (gatebench("list", kind).stdout for kind in ("models", "recipes", "datasets"))
    assert "resnet8 ... resnet110" in models and "cosinegate" in models and "lag-vgg11, lag-vgg13" in models
    assert "aggressive" in recipes and "2512.22206" in recipes
    assert "cifar10" in datasets and "shapes" in datasets


def test_train_prints_the_table_and_is_read_back(gatebench, tmp_path):
    command = ["train", "cosinegate", "--config", "balanced", *GATED, "--seed", "0,1", "--out", str(tmp_path / "out")]
    done = gatebench(*command)
    assert done.returncode == 0, done.stderr
    out = " ".join(done.stdout.split())
    for words in ("cosinegate balanced on shapes (test), 1 epoch (the recipe's: 160): claimed beside executed", "% (95 %)",
                  "audit, seed 1:", "written to", "balanced reaches", "Deciding per input", "next: gatebench profile-"):  # fmt: skip
        assert words in out, words
    details = " ".join(gatebench(*command, "--details").stdout.split())
    assert "difficulty 0.0-0.2" in details and "difficulty 0.0-0.2" not in out
    assert "epoch 1/1" in done.stderr
    rows = gatebench.json(*command)
    assert [row["seed"] for row in rows] == [0, 1] and rows[0]["accuracy"] != rows[1]["accuracy"]
    assert len(list((tmp_path / "out").iterdir())) == 2
    row = rows[0]
    assert row["macs_executed"] == row["macs_dense"] + row["macs_gate"], "the printed gate computes every block in order to decide"
    assert row["skip_pct"] == pytest.approx(100 * (1 - row["mean_gate_hard"]))
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"] or row["accuracy"] == 0
    assert {"threads", "device", "machine", "precision", "split", "epochs", "recipe_epochs", "audit"} <= set(row)
    fresh = gatebench.json(*command, "--fresh")
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert fresh[0]["accuracy"] == row["accuracy"], "the same command gives the same numbers"


def test_the_predictive_gate_executes_what_it_decides(gatebench, tmp_path):
    (row,) = gatebench.json("train", "cosinegate", "--config", "predictive", *GATED, "--out", str(tmp_path))
    assert row["macs_executed"] == pytest.approx(row["macs_decided"])


def test_a_static_network_claims_nothing(gatebench, static_run):
    command = ["train", "resnet8", *STATIC, "--out", str(static_run.parent)]
    done = gatebench(*command)
    assert done.returncode == 0, done.stderr
    (row,) = gatebench.json(*command)
    assert "mean_gate_hard" not in row and "skip_pct" not in row and row["macs_ratio"] == 1 and row["audit"] == [] and not row["adaptive"]


def test_the_recipe_s_missing_set_is_replaced_loudly(gatebench, tmp_path):
    small = [option for option in GATED if option not in ("--dataset", "shapes")]
    done = gatebench("train", "cosinegate", *small, "--out", str(tmp_path))
    err = " ".join(done.stderr.split())
    assert done.returncode == 0 and "cifar10 is not below" in err and "NOT cifar10: going on with the procedural set `shapes`" in err
    assert "on shapes" in done.stdout


def test_a_replaced_recipe_that_trains_nothing_is_not_said_to_train(gatebench, tmp_path, monkeypatch):
    from gatebench import stages

    monkeypatch.setattr(stages, "run", lambda *arguments: iter(()))
    done = gatebench("train", "router", "--config", "neighbours", "--out", str(tmp_path))
    said = " ".join(done.stderr.split())
    assert "NOT intel-scenes: going on with the procedural set `shapes`, recipe neighbours-small. The numbers" in said, said


def test_a_named_missing_set_is_an_error_that_says_where_to_put_it(gatebench, tmp_path):
    said = gatebench.refused("train", "cosinegate", "--dataset", "svhn", "--out", str(tmp_path), code=1)
    assert "Put torchvision's files at" in said and "train_32x32.mat" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "cosinegat"], "No model is named 'cosinegat'. Did you mean 'cosinegate'?"),
        (["train", "cosinegate", "--config", "agressive"], "Did you mean 'aggressive'?"),
        (["train", "cosinegate", "--config", "none.yaml"], "Cannot read recipe none.yaml"),
        (["train", "cosinegate", "--config", ""], "No recipe of cosinegate is named ''"),
        (["train", "cosinegate", "--dataset", ""], "No data set is named ''"),
        (
            ["train", "cosinegate", "--set", "model.depth=21"],
            "Model cosinegate: depth 21 is not 2 + 6 x blocks per stage; the nearest is 20.",
        ),
        (["train", "cosinegate", "--set", "training.epoch=3"], "Did you mean 'epochs'?"),
        (["train", "cosinegate", "--set", "training.lr=0.1"], "unknown key 'training.lr'. Did you mean 'learning_rate'?"),
        (["train", "cosinegate", "--set", "lr=0.1"], "unknown key 'lr'. Did you mean 'training.learning_rate'?"),
        (["train", "resnet15"], "Did you mean 'resnet14'? Known:"),
        (["train", "resnet15"], ", resnet8 ... resnet110, resnet18, resnet34, "),
        (["train", "cosinegate", "--set", "model.gate.gama=3"], "unknown key 'model.gate.gama'. Did you mean 'gamma'?"),
        (["train", "cosinegate", "--dataset", "cifar11"], "No data set is named 'cifar11'. Did you mean 'cifar10'?"),
        (["train", "cosinegate", "--dataset", "./nowhere"], "There is no folder or .npz file at ./nowhere"),
        (["train", "cosinegate", "--seed", "one"], "--seed wants whole numbers"),
        (["train", "cosinegate", "--seed", "99999999999"], "--seed wants whole numbers from 0 to 4294967295"),
        (["train", "cosinegate", "--set", "losses.foo.weight=1", *GATED], "unknown key 'losses.foo'. Allowed here: cross_entropy, budget"),
        (
            ["train", "cosinegate", "--set", "losses.prediction.weight=1", *GATED],
            "losses.prediction: the model has no such term. It has: consistency.",
        ),
        (["train", "resnet8", "--set", "losses.budget={weight: 1, target: 0}", *STATIC], "losses.budget: the model has no gates"),
        (["train", "cosinegate", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["train", "cosinegate", "--device", "gpu"], "--device wants auto, cpu or cuda (a GPU), not 'gpu'."),
        (["train"], "Missing argument 'MODEL'"),
        (["trian"], "No such command 'trian'"),
        (["list", "recipies"], "list wants models, recipes, datasets or columns, not 'recipies'. Did you mean 'recipes'?"),
        (["list", "models", "--data-dir", "."], "`gatebench list models` looks at none. Leave it away."),
        (["train", "cosinegate", "--fresh", "--take-over"], "--take-over goes on in an old one. Leave one of them away."),
        (["train", "cosinegate", "--details", "--json"], "--json prints the rows instead. Leave one of them away."),
        (["train", "cosinegate", "--set", "training=3"], "training = 3 is not allowed: it is a group of settings: epochs, batch_size"),
    ],
)
def test_bad_input_gets_one_clear_sentence(gatebench, arguments, said):
    assert said in gatebench.refused(*arguments, code=2).replace("│ ", "").replace(" │", "")


def test_cuda_where_there_is_none(gatebench):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "There is no CUDA GPU" in gatebench.refused("train", "cosinegate", "--device", "cuda", code=2)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(gatebench, tmp_path):
    command = ["train", "resnet8", *SMALL, "--out", str(tmp_path), "--set", "training.learning_rate=1e30", "--epochs", "3"]
    said = gatebench.refused(*command, code=1)
    assert "The loss is not a number in epoch" in said and "training.learning_rate" in said


def test_weights_that_blow_up_in_an_epoch_s_last_step_are_not_kept(gatebench, tmp_path):
    one_step = ["--set", "training.batch_size=160", "--set", "training.learning_rate=1e30", "--epochs", "2", "--out", str(tmp_path)]
    said = gatebench.refused("train", "resnet8", *SMALL, *one_step, code=1)
    assert "The loss is not a number in epoch 1. No epoch was finished" in said
    assert not list(tmp_path.glob("*/resume.pt"))


@pytest.fixture
def again(gatebench, static_run, tmp_path):
    """The command of a finished run again, on a copy of its folder; and the copy."""
    folder = copied(static_run, tmp_path / "out")
    return ["train", "resnet8", *STATIC, "--out", str(folder.parent)], folder


@pytest.mark.parametrize(
    "content",
    [b"damaged", [1, 2], {"epochs": 5}, {"epochs": [{"x": 1}]}, {"model": 5}, "a byte"],
    ids=["no checkpoint", "a list", "no epochs", "other epochs", "no model", "a byte flipped"],
)
def test_a_checkpoint_of_something_else_is_named(gatebench, again, content):
    command, folder = again
    for name in ("summary.json", "model.safetensors"):  # killed before they were written
        (folder / name).unlink()
    complete = (folder / "resume.pt").read_bytes()
    state = torch.load(folder / "resume.pt", weights_only=True)
    if isinstance(content, bytes):
        (folder / "resume.pt").write_bytes(content)
    elif content == "a byte":
        where = len(complete) // 2
        (folder / "resume.pt").write_bytes(complete[:where] + bytes([complete[where] ^ 1]) + complete[where + 1 :])
    else:
        torch.save({**state, **content} if isinstance(content, dict) else content, folder / "resume.pt")
    assert "is damaged, or not of this run" in gatebench.refused(*command, code=1)
    (folder / "resume.pt").write_bytes(complete)
    assert gatebench(*command).returncode == 0


@pytest.mark.parametrize(
    "name, content",
    [("summary.json", "{}"), ("summary.json", "{"), ("breakdown.csv", None), ("breakdown.csv", ""), ("rows.jsonl", "{}"),
     ("columns.json", "{")],
)  # fmt: skip
def test_a_damaged_result_is_named(gatebench, again, name, content):
    command, folder = again
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    said = gatebench.refused(*command, code=1)
    assert name in said and "--fresh" in said and "unexpectedly" not in said


@pytest.mark.parametrize("content", ["", "epoch,train_loss\n", "epoch\nx\n"])
def test_damaged_epochs_are_named_where_they_are_needed(gatebench, again, content):
    command, folder = again
    (folder / "summary.json").unlink()
    (folder / "epochs.csv").write_text(content)
    said = gatebench.refused(*command, code=1)
    assert "cannot be evaluated: epochs.csv is damaged or not there" in said and "--fresh" in said


def test_an_out_that_cannot_be_written_is_named(gatebench, tmp_path):
    (tmp_path / "file").write_text("")
    said = gatebench.refused("train", "resnet8", *STATIC, "--out", str(tmp_path / "file"), code=1)
    assert "Cannot write" in said and "--out" in said


def test_a_recipe_for_another_model_is_refused(gatebench, tmp_path):
    (tmp_path / "mine.yaml").write_text("model: {name: cosinegate}")
    said = gatebench.refused("train", "resnet20", "--config", str(tmp_path / "mine.yaml"), code=2)
    assert "is for model 'cosinegate', not 'resnet20'" in said


def test_a_broken_machine_file_is_named_and_fresh_goes_round_it(gatebench, static_run, tmp_path):
    folder = copied(static_run, tmp_path / "res[old]")
    command = ["train", "resnet8", *STATIC, "--out", str(folder.parent)]
    done = gatebench(*command)
    assert done.returncode == 0 and "res[old]" in done.stdout, "a path in brackets is not markup"
    (folder / "machine.json").write_text("[]")
    assert "machine.json cannot be read" in gatebench.refused(*command, code=1)
    assert gatebench(*command, "--fresh").returncode == 0


def test_an_unforeseen_error_is_one_sentence(monkeypatch):
    from typer.testing import CliRunner

    from gatebench import recipe

    def explode(*arguments):
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(recipe, "load", explode)
    said = []
    monkeypatch.setattr(cli.console, "say", said.append)
    assert CliRunner().invoke(cli.app, ["train", "resnet8"]).exit_code == 1
    assert said == ["gatebench: this failed unexpectedly: ZeroDivisionError: nobody thought of this. `gatebench --debug ...` shows where."]


def test_debug_shows_the_traceback(gatebench_process):
    done = gatebench_process("--debug", "train", "cosinegat")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_threads_are_recorded(gatebench, tmp_path):
    (row,) = gatebench.json("train", "resnet8", *STATIC, "--threads", "2", "--out", str(tmp_path))
    machine = json.loads(next(tmp_path.glob("*/machine.json")).read_text())
    assert row["threads"] == machine["threads"] == 2 and machine["cores"] == os.cpu_count() and "torch" in machine
