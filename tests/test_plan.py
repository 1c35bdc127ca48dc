"""Plans of jobs, and the stages of a job one by one."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import Silent

from gatebench import assignment, results, stages, timing
from gatebench.errors import GatebenchError, UsageError
from gatebench.plan import COLUMNS, Job, parents_of, plan
from gatebench.recipe import load, parse
from gatebench.runs import RunFolder

TINY = ["data.shapes={train: 64, test: 32, image_size: 16, classes: 4}", "data.augment=none", "training.batch_size=32"]


def recipe(name="resnet8", config="default", changes=(), epochs=1, **content):
    """A recipe on tiny data; `content` are further keys of it."""
    family = name if name in ("cosinegate", "cgt", "router") else "resnet"
    made = load(family, name, config, [*TINY, *changes]).with_dataset("shapes").with_epochs(epochs)
    return parse({**made.content(), **content}, "a test") if content else made


def jobs_of(made, place, seeds=(0,), **options):
    return plan(made, seeds, data_root=place, device="cpu", precision="fp32", **{"threads": 1, **options})


def done(jobs, out, **options):
    """The finished folders of jobs, in their order, and what their views were told."""
    views = []

    def view(title):
        views.append(Silent(title))
        return views[-1]

    return [folder for _, folder in stages.run(jobs, assignment.Place(out, **options), view)], views


def file(place, name, **content):
    (place / f"{name}.yaml").write_text(json.dumps(content))
    return str(place / f"{name}.yaml")


def test_a_job_is_plain_data(tmp_path):
    for made in (recipe("cosinegate", "released"), recipe("cgt", "exit-wise", ["data.validation=20"])):
        for job in jobs_of(made, tmp_path, seeds=(0, 1)):
            again = Job(**json.loads(json.dumps(asdict(job))))
            assert again == job and again.key == job.key and again.parsed == job.parsed
            assert again.parsed.digest() == job.parsed.digest() and again.parsed.resolved() == again.parsed


def test_a_job_names_all_that_decides_its_numbers(tmp_path):
    (job,) = jobs_of(recipe(), tmp_path)
    others = [
        *jobs_of(recipe(), tmp_path, seeds=[1]), *jobs_of(recipe(), tmp_path / "elsewhere"), *jobs_of(recipe(), tmp_path, threads=2),
        *jobs_of(recipe(changes=["training.learning_rate=0.2"]), tmp_path),
        *jobs_of(recipe(changes=["training.precision=bf16"]), tmp_path),
    ]  # fmt: skip
    assert len({each.key for each in (job, *others)}) == 6
    assert job.precision == "fp32" and others[-1].precision == "bf16", "auto is what the command found, another precision stays"


def test_parents_come_first_and_once_each(tmp_path):
    """A diamond: the child names a run twice, and another one that starts from that as well."""
    first = file(tmp_path, "first", training={"learning_rate": 0.02})
    second = file(tmp_path, "second", parents={"weights": {"config": first}})
    parents = {"weights": {"config": second}, "teacher": {"config": first}, "other": {"config": first}}
    jobs = jobs_of(recipe(parents=parents), tmp_path, seeds=(0, 1, 0))
    assert [(job.recipe["name"], job.seed, job.wanted) for job in jobs] == [
        (name, seed, name == "default") for seed in (0, 1) for name in ("first", "second", "default")
    ]
    for before, after in ((jobs[:1], jobs[1]), (jobs[3:4], jobs[4])):
        assert after.parents == {"weights": before[0].key}
    assert jobs[2].parents == {"weights": jobs[1].key, "teacher": jobs[0].key, "other": jobs[0].key}


def test_a_parent_that_is_asked_for_itself_is_wanted(tmp_path):
    """A child that names its own recipe without a parent, as `soft.yaml` beside ours, is no circle."""
    (tmp_path / "default.yaml").write_text(json.dumps({"training": {"learning_rate": 0.02}}))
    jobs = jobs_of(recipe(parents={"weights": {"config": str(tmp_path / "default.yaml")}}), tmp_path)
    assert [job.recipe["name"] for job in jobs] == ["default", "default"] and [job.wanted for job in jobs] == [False, True]


def test_a_parent_of_the_same_model_shares_its_options_data_and_study(tmp_path):
    changes = ["data.validation=20", "model.backbone={kind: cnn, widths: [4, 8, 8]}", "training.momentum=0.5", "study.budgets=[0.7]"]
    parent, child = jobs_of(recipe("cgt", "exit-wise", changes, epochs=3), tmp_path)
    assert parent.recipe["name"] == "deepest" and parent.recipe["training"]["epochs"] == 3
    assert all(parent.recipe[key] == child.recipe[key] for key in ("data", "model", "study"))
    assert parent.recipe["training"]["momentum"] == 0.5 and parent.recipe["scaled_from_epochs"] == 30
    assert child.recipe["training"]["freeze"] and "freeze" not in parent.recipe["training"]


def test_a_parent_of_another_model_has_its_own_recipe_on_the_same_data(tmp_path):
    parents = {"expert": {"model": "cosinegate", "config": "balanced", "changes": ["model.depth=8"]}}
    made = recipe(changes=["training.momentum=0.5", "data.validation=20"], parents=parents)
    parent, child = jobs_of(made, tmp_path)
    assert parent.recipe["model"]["name"] == "cosinegate" and parent.recipe["model"]["depth"] == 8
    assert parent.recipe["training"]["momentum"] == 0.9 and parent.recipe["data"]["augment"] == "crop-flip"
    assert parent.recipe["data"]["name"] == "shapes" and parent.recipe["data"]["shapes"] == child.recipe["data"]["shapes"]
    assert parent.recipe["data"]["validation"] == 20, "a parent is not trained on what its child chooses on"
    assert parent.recipe["training"]["epochs"] == 1
    assert {"data.name=shapes", "model.depth=8"} <= set(parent.recipe["changes"])


def test_a_parent_trained_on_a_severity_that_the_data_do_not_define_is_refused():
    def severity(*changes):
        child = load("router", "router", "small", ["data.severities={}", "data.severities={sharp: {blur: 0}, soft: {blur: 1}}", *changes])
        return parents_of(child)["resnet8"][0].data.training_severity

    with pytest.raises(UsageError, match="parents.resnet8 trains on 'clean', which data.severities does not define"):
        severity()
    given = ["parents.resnet8.changes=[data.training_severity=sharp]", "parents.resnet14.changes=[data.training_severity=all]"]
    assert severity(*given) == "sharp"
    without = load("router", "router", "small", ["data.severities={}"])
    assert parents_of(without)["resnet8"][0].data.training_severity == "all"


@pytest.mark.parametrize("role", ["label", "image", "severity", "confidence", "prediction", "resnet14_soft"])
def test_a_parent_named_like_a_column_is_refused(role):
    child = load("router", "router", "small", [f"parents.{role}={{model: resnet8, config: clean}}"])
    with pytest.raises(UsageError, match=f"In recipe small: parents.{role}: tables have a column of that name. Give this parent another"):
        parents_of(child)


def test_a_circle_is_refused(tmp_path):
    one, other = (str(tmp_path / f"{name}.yaml") for name in ("one", "other"))
    file(tmp_path, "one", parents={"weights": {"config": other}})
    file(tmp_path, "other", parents={"teacher": {"model": "resnet8", "config": one}})
    with pytest.raises(UsageError, match="recipe other: parent resnet8 .*one.yaml starts from itself in the end"):
        jobs_of(recipe(parents={"weights": {"config": one}}), tmp_path)
    file(tmp_path, "own", parents={"weights": {"config": str(tmp_path / "own.yaml")}})
    with pytest.raises(UsageError, match="starts from itself in the end"):
        jobs_of(recipe("resnet8", str(tmp_path / "own.yaml")), tmp_path)


def test_parents_are_made_and_used_again(tmp_path):
    """By a second seed's child, by another child, and where they are asked for themselves."""
    first = file(tmp_path, "first", training={"learning_rate": 0.02})
    child = recipe(parents={"weights": {"config": first}})
    folders, _ = done(jobs_of(child, tmp_path, seeds=(0, 1)), tmp_path / "out")
    assert [folder.path.name.split("-shapes")[0] for folder in folders] == ["resnet8-first", "resnet8-default"] * 2
    assert folders[1].read_json("summary.json")["parents"] == [folders[0].path.name]
    assert folders[1].read_json("identity.json")["parents"] == {"weights": folders[0].path.name}
    written = (folders[0] / "summary.json").stat().st_mtime_ns
    other = recipe(changes=["training.momentum=0.5"], parents={"weights": {"config": first, "changes": ["training.momentum=0.9"]}})
    again, _ = done(jobs_of(other, tmp_path), tmp_path / "out")
    assert again[0].path == folders[0].path and again[1].path != folders[1].path
    assert (folders[0] / "summary.json").stat().st_mtime_ns == written
    fresh, _ = done(jobs_of(child, tmp_path), tmp_path / "out", fresh=True)
    assert fresh[0].path == folders[0].path and fresh[1].path.name == f"{folders[1].path.name}-2", "a parent stays what it is"


def test_weights_that_do_not_fit_are_refused_before_anything_is_trained(tmp_path):
    """Those that --weights names, and those that a parent finds below the data root; in the size of the data."""
    changes = ["data.validation=8", "data.holdout=16", "data.shapes.image_size=24"]
    child = recipe("router", "small", changes)
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(GatebenchError, match=r"other.pt holds the weights of another network"):
        done(jobs_of(child, tmp_path, weights=tmp_path / "other.pt"), tmp_path / "out")
    with pytest.raises(UsageError, match=r"There are no weights at .*none.pt"):
        done(jobs_of(child, tmp_path, weights=tmp_path / "none.pt"), tmp_path / "out")
    expert = {"model": "expert", "config": "squeezenet", "changes": ["model.size=32"]}
    (tmp_path / "experts").mkdir()
    (tmp_path / "other.pt").rename(tmp_path / "experts" / "squeezenet1_1.safetensors")
    other = recipe("router", "small", changes, parents={**child.content()["parents"], "large": expert})
    with pytest.raises(GatebenchError, match=r"experts/squeezenet1_1.safetensors holds the weights of another network"):
        done(jobs_of(other, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A job, its folder, and what lay there after each of its stages."""
    place = tmp_path_factory.mktemp("staged")
    (job,) = jobs_of(recipe("cosinegate", "predictive", ["model.depth=8"], epochs=2), place)
    folder, seen = RunFolder(place / "run"), []
    for stage in (stages.train, stages.evaluate):
        stage(run_of(job, folder), Silent())
        seen.append({path.name for path in folder.path.iterdir()})
    return job, folder, seen


def run_of(job, folder):
    """A job without parents, to be trained in a folder."""
    return assignment.Run(job, assignment.digests(job, {}, None)[0], folder, exact=True, parents={})


def test_each_stage_can_be_run_alone(staged, tmp_path):
    job, folder, (trained, evaluated) = staged
    assert trained == {"recipe.yaml", "machine.json", "data.json", "identity.json", "epochs.csv", "model.safetensors", "resume.pt"}
    results = {"rows.jsonl", "summary.json", "columns.json", "breakdown.csv", "inputs.parquet", "decisions.npz", "examples.npz"}
    assert evaluated - trained == results
    ((other,), _) = done([job], tmp_path)
    times = ("training_seconds", "peak_memory_mb")
    ours, theirs = (each.read_json("summary.json") for each in (folder, other))
    assert {**ours, **dict.fromkeys(times)} == {**theirs, **dict.fromkeys(times)}
    for name in ("model.safetensors", "recipe.yaml", "data.json", "breakdown.csv", "inputs.parquet"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_the_stage_that_times(staged, tmp_path):
    """Its rows lie in the run folder, as those of `profile-latency`."""
    from gatebench.profiling.session import Plan

    job, folder, _ = staged
    copy = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "run")))
    plan = Plan(torch.device("cpu"), 1, 1, ("sparse",), inputs=8, rounds=5, max_seconds=5)
    rows = timing.time([copy], plan, Path(job.data_root))
    (file,) = (copy / "times").glob("*.jsonl")
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows
    assert rows[0]["latency_ms"] > 0 and rows[0]["rival"] == "its static twin" and rows[0]["scored_inputs"]


def test_columns_of_inputs_cannot_be_roles(staged):
    """Beside those of its units."""
    job, folder, _ = staged
    units = {line["group"] for line in folder.read_csv("breakdown.csv") if line["by"] == "unit"}
    columns = set(pd.read_parquet(folder / "inputs.parquet")) - units - {f"{unit}_soft" for unit in units}
    assert columns and columns <= COLUMNS


def test_a_stage_without_the_one_before_it_says_so(staged, tmp_path):
    job, folder, _ = staged
    with pytest.raises(GatebenchError, match="cannot be evaluated: epochs.csv is damaged or not there"):
        stages.evaluate(run_of(job, RunFolder(tmp_path / "nothing")), Silent())
    (tmp_path / "epochs").mkdir()
    for name in ("epochs.csv", "recipe.yaml", "data.json", "identity.json"):
        (tmp_path / "epochs" / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(GatebenchError, match="model.safetensors"):
        stages.evaluate(run_of(job, RunFolder(tmp_path / "epochs")), Silent())
    with pytest.raises(GatebenchError, match="is not finished; train it to its end before it is published"):
        results.publish(RunFolder(tmp_path / "epochs"), tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_what_a_finished_stage_left_is_not_made_again(staged):
    job, folder, _ = staged
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    stages.train(run_of(job, folder), Silent())
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before


def test_what_is_published(tmp_path):
    """Not what only going on needs, nor locks and raw times; weights, per-input tables and large decisions of seed 0 alone."""
    folders, _ = done(jobs_of(recipe(), tmp_path, seeds=(0, 1)), tmp_path / "out")
    for folder in folders:
        for ending in ("jsonl", "json", "csv"):
            folder.write_text(f"x.{ending}", "")
            (folder / "times").mkdir(exist_ok=True)
            (folder / f"x.{ending}").rename(folder / "times" / f"here-1.{ending}")
        (folder / "times" / ".here-2.jsonl.writing-1").write_text("")
    copies = [results.publish(folder, tmp_path / "published") for folder in folders]
    assert [copy.path.name for copy in copies] == [folder.path.name for folder in folders]
    kept = {"recipe.yaml", "machine.json", "data.json", "epochs.csv", "rows.jsonl", "summary.json", "columns.json", "breakdown.csv",
            "identity.json", "decisions.npz", "times/here-1.jsonl", "times/here-1.json"}  # fmt: skip
    per_run = {"model.safetensors", "examples.npz", "inputs.parquet"}
    for copy, expected in zip(copies, (kept | per_run, kept), strict=True):
        files = {str(path.relative_to(copy.path)) for path in copy.path.rglob("*") if path.is_file()}
        assert files == expected
    assert (copies[1] / "rows.jsonl").read_bytes() == (folders[1] / "rows.jsonl").read_bytes()


def test_a_plan_that_is_done_does_nothing_new(tmp_path):
    jobs = jobs_of(recipe("cgt", "exit-wise", ["data.validation=20", "study.budgets=[0.8]"]), tmp_path)
    folders, views = done(jobs, tmp_path / "out")
    assert [len(view.epochs) for view in views] == [1, 1]
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.path.rglob("*")}
    again, views = done(jobs, tmp_path / "out")
    assert [folder.path for folder in again] == [folders[1].path], "its parent is not needed again"
    assert {path: path.stat().st_mtime_ns for folder in folders for path in folder.path.rglob("*")} == before
    assert not any(view.epochs or view.updates or view.said for view in views)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {folder.path.name for folder in folders}
