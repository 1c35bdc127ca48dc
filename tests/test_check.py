"""`report --check`: folders whose numbers hold together, and doctored copies of them with the reason why they are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gatebench.report.check import check

PUBLISHED = Path(__file__).parents[1] / "results"
BLOCKS, EXITS = "cosinegate-predictive-cifar10-s0-c4db3fe4", "cgt-soft-fashion-mnist-s0-*"
ROUTER = "router-default-intel-scenes-s0-13e66d27"
EVERYTHING = "cosinegate-balanced-cifar10-s0-*"
"""A network whose blocks all run."""


def rewritten(path, edit):
    path.write_text(edit(path.read_text()))


def row(number=0, /, **changes):
    """Other values of a row, of the headline in summary.json, too; None: without."""

    def doctor(run):
        lines = (run / "rows.jsonl").read_text().splitlines()
        lines[number] = json.dumps({key: value for key, value in (json.loads(lines[number]) | changes).items() if value is not None})
        (run / "rows.jsonl").write_text("\n".join(lines) + "\n")
        (run / "summary.json").write_text(lines[0])

    return doctor


def times(**changes):
    """Other values of the last row of times; a function makes one of the row."""

    def doctor(run):
        path = next((run / "times").glob("*.jsonl"))
        *others, last = path.read_text().splitlines()
        values = json.loads(last)
        values |= {key: change(values) if callable(change) else change for key, change in changes.items()}
        path.write_text("\n".join([*others, json.dumps(values)]) + "\n")

    return doctor


def of_json(name, /, **changes):
    return lambda run: rewritten(run / name, lambda text: json.dumps(json.loads(text) | changes))


def replaced(name, old, new):
    def doctor(run):
        assert old in (run / name).read_text()
        rewritten(run / name, lambda text: text.replace(old, new, 1))

    return doctor


def without(name):
    return lambda run: (run / name).unlink()


def written(name, content):
    return lambda run: (run / name).write_bytes(content)


def last_line_away(name):
    return lambda run: rewritten(run / name, lambda text: "\n".join(text.splitlines()[:-1]) + "\n")


def header_alone(run):
    rewritten(run / "breakdown.csv", lambda text: text.splitlines()[0] + "\n")


def twice_the_last_row(run):
    rewritten(run / "rows.jsonl", lambda text: text + text.splitlines()[-1] + "\n")


def arrays(name, **changes):
    """Other arrays in an .npz file; a function makes one of what it holds; None: without."""

    def doctor(run):
        values = dict(np.load(run / name))
        values |= {key: change(values[key]) if callable(change) else change for key, change in changes.items()}
        np.savez_compressed(run / name, **{key: value for key, value in values.items() if value is not None})

    return doctor


def shuffled(values):
    return np.random.default_rng(0).permutation(values)


def renamed(old, new):
    def doctor(run):
        assert old in run.name
        run.rename(run.with_name(run.name.replace(old, new)))

    return doctor


def inputs(**changes):
    """Other columns in inputs.parquet, each a function of the table; None: without."""

    def doctor(run):
        import pandas as pd

        table = pd.read_parquet(run / "inputs.parquet")
        edited = table.assign(**{key.replace("__", "."): change for key, change in changes.items() if change})
        edited.drop(columns=[key for key, change in changes.items() if not change]).to_parquet(run / "inputs.parquet")

    return doctor


def within_classes(run):
    """Decisions of inputs that changed places with others of their class."""
    import pandas as pd

    labels = pd.read_parquet(run / "inputs.parquet", columns=["label"])["label"].to_numpy()
    order = np.arange(len(labels))
    for label in np.unique(labels):
        order[labels == label] = shuffled(order[labels == label])
    arrays("decisions.npz", decisions=lambda each: each[order])(run)


def away(name, part):
    """A table without the lines that hold a text."""
    return lambda run: rewritten(run / name, lambda text: "".join(each for each in text.splitlines(True) if part not in each))


def copied_times(run):
    path = next((run / "times").glob("*.jsonl"))
    shutil.copy(path, path.with_name("rack.jsonl"))


def conditions(**changes):
    """Other values of every session beside times; a function makes one of the old one."""

    def edit(text):
        content = json.loads(text)
        for session in content["sessions"]:
            session |= {key: change(session[key]) for key, change in changes.items()}
        return json.dumps(content)

    return lambda run: rewritten(next((run / "times").glob("*.json")), edit)


DOCTORED = {
    # broken
    "no summary": (BLOCKS, without("summary.json"), "summary.json", "it is missing: the run is not finished"),
    "no rows": (BLOCKS, without("rows.jsonl"), "rows.jsonl", "it is missing"),
    "no machine": (BLOCKS, without("machine.json"), "machine.json", "it is missing"),
    "half a row": (BLOCKS, lambda run: rewritten(run / "rows.jsonl", lambda text: text[: len(text) // 2]), "rows.jsonl", "damaged"),
    "no UTF-8": (BLOCKS, written("epochs.csv", b"\xff\xfe"), "epochs.csv", "it is not UTF-8"),
    "no YAML": (BLOCKS, written("recipe.yaml", b"model: ["), "recipe.yaml", "it is not valid YAML"),
    "no numbers": (BLOCKS, replaced("epochs.csv", "1,0.07", "1,nan0.07"), "epochs.csv", "learning_rate = nan0.07"),
    "no finite number": (BLOCKS, replaced("epochs.csv", "1.69332328125", "inf"), "epochs.csv", "train_loss = inf is no finite number"),
    "no bits": (BLOCKS, written("decisions.npz", b"PK"), "decisions.npz", "it cannot be read"),
    "no table of inputs": (BLOCKS, written("inputs.parquet", b"PAR1"), "inputs.parquet", "it cannot be read"),
    "a text as accuracy": (BLOCKS, row(accuracy="good"), "rows.jsonl", "accuracy = 'good'"),
    "more than all": (BLOCKS, row(accuracy=101.0), "rows.jsonl", "less than or equal to 100"),
    "another layout": (BLOCKS, row(macs_executed=None), "rows.jsonl", "lacks macs_executed"),
    "a column of its own": (BLOCKS, row(my_score=3.0), "rows.jsonl", "'my_score', a column that neither gatebench nor columns.json"),
    "damaged columns": (EXITS, written("columns.json", b"{}"), "columns.json", "damaged"),
    "nothing on data": (BLOCKS, written("data.json", b"{}"), "data.json", "it is empty"),
    "nothing on the machine": (BLOCKS, written("machine.json", b"{}"), "machine.json", "it is empty"),
    "no conditions of times": (BLOCKS, lambda run: next((run / "times").glob("*.json")).unlink(), "json", "it is missing"),
    "no settings": (BLOCKS, written("recipe.yaml", b"{}"), "recipe.yaml", "it is empty"),
    "a header alone": (BLOCKS, header_alone, "breakdown.csv", "it is empty"),
    "inputs without a column": (BLOCKS, inputs(confidence=None), "inputs.parquet", "its 'confidence' is missing"),
    # rows that contradict themselves
    "another summary": (BLOCKS, of_json("summary.json", f1=12.5), "summary.json", "f1 is not that of the first line"),
    "half an interval": (BLOCKS, row(accuracy_high=None), "rows.jsonl", "lacks accuracy_high"),
    "outside of its interval": (BLOCKS, row(accuracy=89.0), "rows.jsonl", "accuracy = 89 lies outside of its interval"),
    "too narrow an interval": (BLOCKS, row(accuracy_low=88.0, accuracy_high=88.4), "rows.jsonl", "of 10,000 inputs 87.52 to 88.79"),
    "a part of an image": (BLOCKS, row(accuracy=88.1750001), "rows.jsonl", "is no whole number of 10,000 inputs"),
    "shares of 110 %": (EXITS, row(shares=[0.6, 0.3, 0.2]), "rows.jsonl", "shares = 0.6, 0.3, 0.2 do not add up to 1"),
    "a share without a name": (EXITS, row(share_names=["exit 1"]), "rows.jsonl", "3 shares and 1 share_names"),
    "one point twice": (EXITS, twice_the_last_row, "rows.jsonl", "2 rows are of one operating point"),
    "two runs": (EXITS, row(digest="v1:00000000"), "rows.jsonl", "rows differ in digest"),
    "a ratio of its own": (BLOCKS, row(macs_ratio=0.5), "rows.jsonl", "macs_ratio = 0.5, and macs_executed / macs_dense is 0.796"),
    "fewer than decided": (BLOCKS, row(macs_decided=33e6), "rows.jsonl", "macs_decided = 3.3e+07 is more than macs_executed"),
    "more than there are": (BLOCKS, row(macs_executed=2 * 40551040, macs_ratio=2.0), "rows.jsonl", "twin and gates together have"),
    "more than both experts": (ROUTER, row(macs_executed=1e10, macs_ratio=1e10 / 575237104), "rows.jsonl", "twin and gates together have"),
    "a claim of 120 %": (BLOCKS, row(skip_pct=120.0), "rows.jsonl", "skip_pct = 120 is more than all"),
    "a claim of its own": (BLOCKS, row(skip_pct=35.0), "rows.jsonl", "skip_pct = 35, and the decisions make 19.9889"),
    "a claim below 0": (BLOCKS, row(skip_pct=-3.0), "rows.jsonl", "skip_pct = -3 is below 0"),
    "a claim of an exit": (EXITS, row(1, skip_pct=60.0), "rows.jsonl", "skip_pct = 60, and the decisions make 44.94"),
    "other shares": (EXITS, row(shares=[0.6, 0.268, 0.132]), "breakdown.csv", "its units ran for 1, 0.471, 0.203 of the inputs"),
    "shares of other experts": (ROUTER, row(shares=[0.7, 0.2, 0.1]), "breakdown.csv", "and shares are 0.7, 0.2, 0.1"),
    "a better recall": (EXITS, row(recall_macro=99.0), "rows.jsonl", "recall_macro = 99, and the classes of breakdown.csv make 93.13"),
    "a part of an image by fixed decisions": (BLOCKS, row(fixed_accuracy=88.1812), "rows.jsonl", "fixed_accuracy = 88.1812 is no whole"),
    "another gain": (EVERYTHING, row(adaptivity_gain=0.5, adaptivity_gain_high=1.0), "rows.jsonl", "accuracy - fixed_accuracy is 0.04"),
    "a gain over less than 0 %": (BLOCKS, row(adaptivity_gain=90.0, adaptivity_gain_high=91.0), "rows.jsonl", "adaptivity_gain = 90"),
    "an oracle that errs": (EXITS, row(oracle_accuracy=50.0), "rows.jsonl", "accuracy = 93.13 is more than oracle_accuracy = 50"),
    "another seed": (BLOCKS, row(seed=4), "rows.jsonl", "the seed is 4, and the folder's name says 0"),
    # files that contradict the rows
    "an epoch less": (BLOCKS, last_line_away("epochs.csv"), "epochs.csv", "it has 14 epochs, and the row 15"),
    "a better peak": (BLOCKS, row(accuracy_peak=91.0), "epochs.csv", "its best accuracy is 88.17, and accuracy_peak 91"),
    "another peak": (BLOCKS, row(peak_epoch=1), "epochs.csv", "its best epoch is 15, and peak_epoch 1"),
    "another recipe": (BLOCKS, replaced("recipe.yaml", "epochs: 15", "epochs: 160"), "recipe.yaml", "training.epochs is 160"),
    "data of another recipe": (BLOCKS, replaced("recipe.yaml", "name: cifar10", "name: mnist"), "recipe.yaml", "data.name is 'mnist'"),
    "another schedule": (BLOCKS, row(schedule="cosine 0.5"), "recipe.yaml", "schedule is 'one-cycle 0.2', and the row has 'cosine 0.5'"),
    "fewer epochs of its own": (BLOCKS, row(recipe_epochs=15), "recipe.yaml", "its own epochs is 160, and the row has 15"),
    "another trade-off": (ROUTER, row(tradeoff=0.7), "recipe.yaml", "tradeoff is 0.95, and the row has 0.7"),
    "other statistics": (BLOCKS, of_json("data.json", mean=[0.1, 0.1, 0.1]), "data.json", "its digest is e433aef4, and what it describes"),
    "another identity": (ROUTER, of_json("identity.json", digest="0"), "identity.json", "its digest is '0', and the row's"),
    "epochs without scores": (BLOCKS, replaced("epochs.csv", "test_accuracy", "accuracy"), "epochs.csv", "it has no test_accuracy"),
    "other data": (BLOCKS, of_json("data.json", name="mnist"), "data.json", "it describes mnist"),
    "no deviation": (BLOCKS, of_json("data.json", std=[0, 0, 0]), "data.json", "above 0"),
    "nothing scored": (BLOCKS, of_json("data.json", test="many"), "data.json", "its 'test' is missing, or not what it should be"),
    "an accuracy of 450 %": (BLOCKS, replaced("epochs.csv", ",41.44,", ",450,"), "epochs.csv", "test_accuracy = 450 is not between"),
    "another mean gate": (BLOCKS, row(mean_gate_hard=0.5), "breakdown.csv", "mean_gate_hard = 0.800111 on average, and the row 0.5"),
    "a class that is none": (BLOCKS, replaced("breakdown.csv", "airplane", "zeppelin"), "breakdown.csv", "zeppelin is no class"),
    "more inputs of a class": (BLOCKS, replaced("breakdown.csv", "airplane,1000", "airplane,1001"), "breakdown.csv", "10,001 inputs"),
    "a better class": (BLOCKS, replaced("breakdown.csv", "airplane,1000,90.1", "airplane,1000,99.1"), "breakdown.csv", "accuracy = 89.07"),
    "no classes": (BLOCKS, away("breakdown.csv", "class,"), "breakdown.csv", "it has no lines by class"),
    "no units": (BLOCKS, away("breakdown.csv", "unit,"), "breakdown.csv", "or none by unit"),
    "a class twice": (BLOCKS, replaced("breakdown.csv", "truck", "ship"), "breakdown.csv", "ship has 2 lines by class"),
    "a unit of fewer": (BLOCKS, replaced("breakdown.csv", "blocks.0,10000", "blocks.0,5"), "breakdown.csv", "blocks.0 has 5 inputs"),
    "a unit for nothing": (BLOCKS, replaced("breakdown.csv", "4718592,0.771", "471859,0.771"), "breakdown.csv", "its units leave 4.85"),
    "another machine": (BLOCKS, of_json("machine.json", name="rack"), "machine.json", "it is rack with 1 threads"),
    "other weights": (EXITS, row(weights="00000000"), "model.safetensors", "and the row's weights are 00000000"),
    "another model": (BLOCKS, renamed("cosinegate", "resnet20"), "rows.jsonl", "and the folder's name says resnet20-predictive-cifar10"),
    "another recipe's name": (BLOCKS, renamed("predictive", "balanced"), "rows.jsonl", "it is of cosinegate-predictive-cifar10, and the"),
    "other data by name": (BLOCKS, renamed("cifar10", "cifar100"), "rows.jsonl", "the folder's name says cosinegate-predictive-cifar100"),
    "other decisions": (BLOCKS, arrays("decisions.npz", decisions=np.zeros_like), "decisions.npz",
                        "of its switches 0 are on, and mean_gate_hard is 0.8"),
    "decisions of fewer": (BLOCKS, arrays("decisions.npz", decisions=lambda each: each[:-1]), "decisions.npz", "it has 9,999 inputs"),
    "decisions of other inputs": (BLOCKS, arrays("decisions.npz", decisions=shuffled), "decisions.npz",
                                  "of the switches for airplane 0.79"),
    "decisions by exit of other inputs": (EXITS, arrays("decisions.npz", decisions=shuffled), "decisions.npz", "and breakdown.csv has"),
    "decisions of no width": (BLOCKS, arrays("decisions.npz", switches=400), "decisions.npz", "are no bits of 400 switches"),
    "no switches": (BLOCKS, arrays("decisions.npz", switches=None), "decisions.npz", "it has no 'switches'"),
    "decisions that are not to be": (BLOCKS, row(adaptive=False), "decisions.npz", "than the first, and adaptive is false"),
    "no images": (BLOCKS, written("examples.npz", b"PK"), "examples.npz", "it cannot be read"),
    "images of fewer": (BLOCKS, arrays("examples.npz", pixels=lambda each: each[:-1]), "examples.npz", "are no images of 48 inputs"),
    "images of another size": (BLOCKS, arrays("examples.npz", pixels=lambda each: each[:, :9]), "examples.npz", "images are [9, 32, 3]"),
    "images of no input": (BLOCKS, arrays("examples.npz", index=lambda each: each + 10_000), "examples.npz", "and there are 10,000 from 0"),
    "parts of a label": (BLOCKS, arrays("examples.npz", labels=lambda each: each / 2), "examples.npz", "no lists of whole numbers"),
    "other labels": (BLOCKS, arrays("examples.npz", labels=lambda each: (each + 1) % 10), "examples.npz", "in inputs.parquet"),
    "better inputs": (BLOCKS, inputs(prediction=lambda table: table["label"]), "inputs.parquet",
                      "its inputs give accuracy = 100, and the row has 88.17"),
    "other decisions within classes": (BLOCKS, within_classes, "decisions.npz", "inputs it has other decisions than inputs.parquet"),
    "MACs of other inputs": (BLOCKS, inputs(macs_decided=lambda table: shuffled(table["macs_decided"].to_numpy())), "inputs.parquet",
                             "inputs with the same decisions have macs_decided"),
    "fewer MACs than decided": (BLOCKS, inputs(macs_executed=lambda table: shuffled(table["macs_executed"].to_numpy())), "inputs.parquet",
                                "an input executes less than was decided"),
    "a label that is none": (BLOCKS, inputs(label=lambda table: table["label"] + 90), "inputs.parquet", "a label that is none of 10"),
    "sure beyond all": (BLOCKS, inputs(confidence=lambda table: 7 * table["confidence"]), "inputs.parquet", "a confidence that is not"),
    "other MACs": (BLOCKS, inputs(macs_executed=lambda table: 1.1 * table["macs_executed"]), "inputs.parquet", "the row has 3.22962e+07"),
    "another F1": (EXITS, row(f1=95.0), "inputs.parquet", "its inputs give f1 = 93.108, and the row has 95"),
    "classes changed places": (BLOCKS, replaced("breakdown.csv", "airplane,1000,90.1", "airplane,1000,90.0"), "inputs.parquet",
                               "airplane has accuracy = 90.1 there, and 90 in breakdown.csv"),
    "a unit that runs less": (BLOCKS, replaced("breakdown.csv", "0.9973", "0.1973"), "inputs.parquet", "has mean_gate_hard = 0.9973"),
    "softer gates": (BLOCKS, replaced("breakdown.csv", "0.7713108063", "0.1"), "inputs.parquet", "blocks.0 has mean_gate_soft = 0.771311"),
    "a unit of its own": (BLOCKS, replaced("breakdown.csv", "unit,blocks.0", "unit,blocks.77"), "inputs.parquet", "no column blocks.77"),
    "seconds below 0": (BLOCKS, row(training_seconds=-5.0), "rows.jsonl", "training_seconds is below 0"),
    "fixed decisions beyond all": (BLOCKS, row(fixed_macs=9e12), "rows.jsonl", "fixed_macs = 9e+12 is more than macs_executed"),
    # times
    "times of other weights": (BLOCKS, times(weights="00000000"), "jsonl", "weights is '00000000'"),
    "times of another run": (BLOCKS, times(digest="v1:0"), "jsonl", "digest is 'v1:0'"),
    "times of no point": (EXITS, times(tradeoff=0.123, policy="none"), "jsonl", "that rows.jsonl does not have"),
    "times of more parameters": (BLOCKS, times(params=1), "jsonl", "params is 1, and the run's 274933"),
    "times of other data": (BLOCKS, times(dataset="mnist"), "jsonl", "dataset is 'mnist', and the run's 'cifar10'"),
    "times twice": (BLOCKS, copied_times, "jsonl", "a row of times is there 2 times"),
    "times of another machine": (BLOCKS, times(machine="rack"), "json", "AVX-512 with bf16', and the row of 'rack'"),
    "inputs beyond all": (BLOCKS, conditions(inputs=lambda each: [[10_000, *call[1:]] for call in each]), "json", "beyond the 10,000"),
    "quieter rounds": (BLOCKS, times(noisy_rounds=0), "json", "it lists 2 noisy rounds, and the row has 0"),
    "broken off": (BLOCKS, times(interrupted=True), "json", "it says interrupted: False, and the row True"),
    "no session": (BLOCKS, conditions(threads=lambda each: each + 1), "json", "it has no session of a row of times"),
    "a claim below 0 when timed": (BLOCKS, times(timed_claimed_pct=-9.0), "jsonl", "timed_claimed_pct = -9 is below 0"),
    "a percentile beyond all calls": (BLOCKS, times(latency_quantiles_ms=[1.0, 1.7]), "jsonl", "latency_p90 = 1.88287 is not between"),
    "quantiles that are none": (BLOCKS, times(latency_quantiles_ms=[None, 2.0]), "jsonl", "latency_quantiles_ms do not ascend"),
    "times from nowhere": (BLOCKS, times(machine=None), "jsonl", "lacks machine"),
    "scores among times": (BLOCKS, times(accuracy=99.0), "jsonl", "holds no scores"),
    "percentiles descend": (BLOCKS, times(latency_p90=1.0, latency_p90_low=0.9, latency_p90_high=1.1), "jsonl", "do not ascend"),
    "an interval without a value": (BLOCKS, times(latency_p99_low=1.0, latency_p99_high=2.0), "jsonl", "an interval of latency_p99 and no"),
    "a speed-up below 0": (BLOCKS, times(speedup=-2.0, speedup_low=-3.0, speedup_high=-1.0), "jsonl", "speedup = -2.0"),
    "a percentile of 0 ms": (BLOCKS, times(latency_p50=0.0, latency_p50_low=0.0), "jsonl", "latency_p50 = 0.0"),
    "faster than measured": (BLOCKS, times(speedup=3.0, speedup_high=3.1), "jsonl", "a speed-up of 3 at 20.7255 % saved makes 3.2"),
    "more saved": (BLOCKS, times(timed_saving_pct=60.0, realised=lambda row: (1 - 1 / row["speedup"]) / 0.6, realised_low=0.1), "jsonl",
                   "timed_saving_pct = 60, and timed_macs_executed makes 20.7255"),
    "a mean beyond all calls": (BLOCKS, times(latency_quantiles_ms=[1.0, 1.2]), "jsonl", "not between the fastest and the slowest call"),
    "faster than the times": (BLOCKS, times(rival_ms=500.0, rival_ms_low=450.0, rival_ms_high=550.0), "jsonl", "ms is another"),
    "faster than the fastest": (BLOCKS, times(speedup_fastest=1.5, rival_fastest_ms=1.0), "jsonl", "speedup_fastest = 1.5, and 1 over"),
    "no calls": (BLOCKS, times(calls=0), "jsonl", "0 calls in 12 rounds"),
    "noisier than long": (BLOCKS, times(noisy_rounds=13), "jsonl", "13 of them noisy, cannot be"),
    "most below least": (BLOCKS, times(timed_macs_least=2.0, timed_macs_most=1.0), "jsonl", "is not between 2 and 1"),
    "other inputs": (BLOCKS, conditions(inputs=lambda each: each[:-1]), "json", "other inputs than the 8 calls"),
    "from tomorrow": (BLOCKS, times(when="2999-01-01T00:00:00Z"), "jsonl", "lies in the future"),
    "no date": (BLOCKS, times(when="yesterday"), "jsonl", "is no time such as"),
}  # fmt: skip


def published(pattern):
    folder = next(iter(sorted(PUBLISHED.glob(pattern))), None)
    return folder or pytest.skip(f"there is no results/{pattern}")


def test_every_published_folder_holds():
    checked, refused = check(PUBLISHED)
    assert refused == []
    assert checked == len(list(PUBLISHED.glob("*/summary.json"))) >= 64


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_folder_is_refused_with_its_reason(tmp_path, name):
    pattern, doctor, file, reason = DOCTORED[name]
    original = published(pattern)
    run = shutil.copytree(original, tmp_path / original.name)
    doctor(run)
    checked, refused = check(tmp_path)
    assert checked == 1
    assert any(each.file.endswith(file) and reason in each.problem for each in refused), [str(each) for each in refused]
    assert len({each.folder for each in refused}) == 1


ENDS = {"": 1.0, "_low": 0.9, "_high": 1.1}


def test_times_of_a_busy_machine_hold(tmp_path):
    """One slow round of twelve moves a mean, and the median of the ratios hardly."""
    original = published(BLOCKS)
    run = shutil.copytree(original, tmp_path / original.name)
    rival = {f"rival_ms{end}": lambda row, factor=factor: factor * row["speedup"] * row["latency_ms"] for end, factor in ENDS.items()}
    times(latency_ms=lambda row: 3 * row["latency_ms"], latency_ms_high=lambda row: 8 * row["latency_ms_high"], **rival)(run)
    assert check(tmp_path) == (1, [])


@pytest.mark.parametrize("name", ["{}", "{}-2", "mine", "old {} of ours"])
def test_a_run_of_today_holds_by_its_own_name_and_by_one_of_the_user_s(static_run, tmp_path, name):
    assert check(shutil.copytree(static_run, tmp_path / name.format(static_run.name))) == (1, [])


def test_one_run_counts_once(static_run, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(static_run, tmp_path / name)
    checked, (refusal,) = check(tmp_path)
    assert checked == 2 and str(refusal) == "second: rows.jsonl: it has the rows of first, and one run counts once"


def test_a_link_to_a_folder_is_that_folder_again(static_run, tmp_path):
    shutil.copytree(static_run, tmp_path / "first")
    (tmp_path / "second").symlink_to(tmp_path / "first")
    checked, (refusal,) = check(tmp_path)
    assert checked == 2 and str(refusal) == "second: the folder: it is first again, and one run counts once"


def test_the_command_says_what_it_checked(gatebench, static_run, tmp_path):
    run = shutil.copytree(static_run, tmp_path / "runs" / static_run.name)
    done = gatebench("report", str(run.parent), "--check")
    assert (done.returncode, done.stdout.strip()) == (0, "checked 1 run: all hold")
    row(accuracy=0.0)(run)
    done = gatebench("report", str(run), "--check")
    assert done.returncode == 1
    assert f"{run.name}: rows.jsonl: accuracy = 0 lies outside of its interval" in done.stdout
    assert done.stdout.splitlines()[-1] == "checked 1 run: 1 does not hold"
    done = gatebench("report", str(run), "--check", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["refused"][0]["file"] == "rows.jsonl"
    assert not (run / "report").exists()
    said = gatebench.refused("report", str(tmp_path), "--check", code=2)
    assert "there is no run folder" in said
