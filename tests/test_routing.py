"""Ways of choosing an expert that are not trained by gradients, and what routing is worth: each number against one computed apart."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy
import torch

from gatebench.contract import Prepare
from gatebench.errors import UsageError
from gatebench.evaluation.fixed import Mix
from gatebench.library import available
from gatebench.losses import Batch
from gatebench.models.experts import worth
from gatebench.models.experts.cascade import candidates
from gatebench.models.experts.complexity import ByComplexity, spatial_information
from gatebench.models.experts.intervals import cheapest_cut
from gatebench.models.experts.pictures import pictures
from gatebench.models.registry import create, entry
from gatebench.recipe import load as recipe_of
from gatebench.report.results import read_runs
from gatebench.runs import RunFolder
from gatebench.trained import load_run

SHAPE, CLASSES, TIMES = (3, 16, 16), 4, [1.0, 2.0, 5.0]
SMALL = {"size": 16, "pretrained": False}
GATERS = {
    "neighbours": {"kind": "neighbours", "neighbours": 3, **SMALL},
    "entropy": {"kind": "entropy", **SMALL},
    "complexity": {"kind": "complexity"},
    "cascade": {"kind": "cascade"},
    "cascade by entropy": {"kind": "cascade", "rule": "entropy"},
    "cascade by margin": {"kind": "cascade", "rule": "margin"},
}


LEARNED = {"kind": "learned", **SMALL}
"""By gradients: no rule."""


def router(gater):
    torch.manual_seed(0)
    experts = {f"resnet{depth}": create(f"resnet{depth}", CLASSES, SHAPE) for depth in (8, 14, 20)}
    for number, each in enumerate(experts.values()):
        each.prepare = Prepare(SHAPE[1:], (0.4 + 0.05 * number,) * 3, (0.2,) * 3)
    return create("router", CLASSES, SHAPE, experts, gater={**GATERS, "learned": LEARNED}[gater], latency_ms=TIMES).eval()


def images(count, seed=0):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def learned(gater, count=40):
    """A router that has learned from random images with random outputs, and what it learned from."""
    model = router(gater)
    draw = torch.Generator().manual_seed(1)
    x, labels = images(count), torch.randint(0, CLASSES, (count,), generator=draw)
    batch = Batch(x, labels, 2 * torch.randn(count, 3, CLASSES, generator=draw))
    model.learn(Batch(*parts) for parts in zip(x.split(15), labels.split(15), batch.outputs.split(15), strict=True))
    return model, batch


def answered(outputs, labels, source=None):
    labels = np.array(labels)
    return worth.ExpertOutputs(labels, np.array(outputs, np.float32), np.arange(len(labels)) if source is None else np.array(source))


def outputs_of(right, labels=None):
    """Logits that are right where `right` [N, E] says so; the label is 0 unless given."""
    right = np.array(right, bool)
    logits = np.zeros((*right.shape, CLASSES), np.float32)
    logits[..., 0], logits[..., 1] = 3.0 * right, 3.0 * ~right
    return logits


# Deciders


def test_neighbours_score_experts_by_their_loss_on_the_nearest_images():
    model, batch = learned("neighbours")
    with torch.no_grad():
        embed = lambda x: model.method.pooled(model.gater.convert(x)).numpy().astype(np.float64)  # noqa: E731
        stored, asked = embed(batch.x), embed(images(6, seed=2))
        scores = model.scores(images(6, seed=2), None).numpy()
    standard = lambda features: (features - stored.mean(0)) / np.maximum(stored.std(0), 1e-6)  # noqa: E731
    unit = lambda features: features / np.linalg.norm(features, axis=1, keepdims=True)  # noqa: E731
    logits = batch.outputs.numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(2)) - logits[np.arange(40), :, batch.labels.numpy()]
    similar = unit(standard(asked)) @ unit(standard(stored)).T
    expected = np.stack([losses[np.argsort(-row)[:3]].mean(0) for row in similar])
    assert np.allclose(scores, expected, atol=1e-4)
    for weight in (0.0, 0.5, 0.9, 1.0):
        wanted = (weight * expected / 3 + (1 - weight) * np.array([0.0, 0.25, 1.0])).argmin(1)
        assert model.method.choose(torch.from_numpy(scores), (weight,)).tolist() == wanted.tolist()
    assert model.macs_gate == model.macs_scores + 40 * 128


def test_predicted_entropy_is_that_of_the_answers_where_features_tell_it():
    model, batch = learned("entropy", count=400)
    entropies = torch.distributions.Categorical(logits=batch.outputs).entropy().mean(1).numpy()
    with torch.no_grad():
        features = model.method.pooled(model.gater.convert(batch.x)).double().numpy()
        scores = model.scores(batch.x, None).numpy()
    standard = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    gram = standard.T @ standard / 400 + 0.01 * np.eye(128)
    expected = entropies.mean() + standard @ np.linalg.solve(gram, standard.T @ (entropies - entropies.mean()) / 400)
    assert np.allclose(scores[:, 0], expected, atol=2e-3)
    r2 = 1 - ((entropies - scores[:, 0]) ** 2).sum() / ((entropies - entropies.mean()) ** 2).sum()
    assert model.method.columns(scores, batch.outputs.numpy())["entropy_r2"] == pytest.approx(r2, abs=1e-6)
    assert model.method.columns(np.full((400, 1), entropies.mean()), batch.outputs.numpy())["entropy_r2"] == pytest.approx(0, abs=1e-6)


def test_complexity_is_the_mean_gradient():
    kernels = router("complexity").method.kernels
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    flat, noisy = torch.full((1, 3, 16, 16), 0.7), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert spatial_information(flat, kernels).item() == pytest.approx(0, abs=1e-6)
    assert spatial_information(ramp, kernels).item() == pytest.approx(2 / 15 / math.sqrt(2), rel=1e-5)  # the difference two pixels apart
    assert spatial_information(ramp.mT.contiguous(), kernels).item() == pytest.approx(2 / 15 / math.sqrt(2), rel=1e-5)
    assert 0.1 < spatial_information(noisy, kernels).item() < 1


def test_complexity_is_that_of_the_pixels_however_they_were_normalised():
    model = router("complexity")
    pixels = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(each)[:, None, None] for each in (model.prepare.mean, model.prepare.std))
    expected = spatial_information(pixels, model.method.kernels)
    assert torch.allclose(model.scores((pixels - mean) / std, None)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cut_into_intervals_costs_less(seed):
    costs = np.random.default_rng(seed).normal(size=(7, 3))
    cuts, choices = cheapest_cut(costs, 3)
    found = sum(costs[start:end, choice].sum() for start, end, choice in zip([0, *cuts], [*cuts, 7], choices, strict=True))
    tried = [
        costs[:first, a].sum() + costs[first:second, b].sum() + costs[second:, c].sum()
        for first, second in itertools.combinations_with_replacement(range(8), 2)
        for a, b, c in itertools.product(range(3), repeat=3)
    ]
    assert found == pytest.approx(min(tried))


def test_intervals_send_scores_where_they_were_chosen_to_go():
    """The middle third of the scores is hard for the first expert, and the rest for the second."""
    scores = np.linspace(0, 1, 90, dtype=np.float32)[:, None]
    middle = (scores[:, 0] >= scores[30, 0]) & (scores[:, 0] < scores[60, 0])
    losses = np.stack([np.where(middle, 9.0, 0.0), np.where(middle, 0.0, 9.0), np.full(90, 9.0)], 1)
    decider = ByComplexity(3, channels=1)
    (policy,) = decider.policies(scores, losses, np.array(TIMES), [0.99])
    taken = decider.choose(torch.from_numpy(scores), policy).numpy()
    assert (taken == middle).mean() > 0.96  # thresholds lie between bins of validation images
    assert decider.policies(scores, losses, np.array(TIMES), [0.0]) == [(math.inf, math.inf, 0.0, 0.0, 0.0)]
    thresholds = decider.choose(torch.tensor([[0.1], [0.2], [0.3]]), (0.2, 0.3, 2.0, 0.0, 1.0))
    assert thresholds.tolist() == [2, 0, 1]  # a score that is equal to a threshold lies above it


# Cascades


@pytest.mark.parametrize("gater", ["cascade", "cascade by entropy", "cascade by margin"])
def test_a_cascade_asks_until_one_is_sure(gater):
    model, x = router(gater), images(24)
    with torch.no_grad():
        outputs = model.answers(x)
        scores = model.scores(x, outputs)
        model.policy = tuple(scores[:, :-1].quantile(0.4, 0).tolist())  # between two scores
        masked, sparse, replayed = model.infer(x, "masked"), model.infer(x, "sparse"), model.replay(x, outputs)
    probabilities = outputs.double().softmax(2)
    ordered = probabilities.sort(2, descending=True).values
    sure = {
        "cascade": ordered[..., 0],
        "cascade by entropy": 1 + (probabilities * probabilities.log()).sum(2) / math.log(CLASSES),
        "cascade by margin": ordered[..., 0] - ordered[..., 1],
    }[gater]
    assert torch.allclose(scores.double(), sure, atol=1e-5)
    expected = [next((e for e in range(2) if scores[n, e] >= model.policy[e]), 2) for n in range(24)]
    assert set(expected) == {0, 1, 2}
    for output in (masked, sparse, replayed):
        assert (output.decisions.sum(1) - 1).tolist() == expected
        assert torch.allclose(output.logits, outputs[torch.arange(24), expected], atol=1e-4)
    macs = np.cumsum([unit.macs for unit in model.units])
    assert sparse.executed_macs.sum(1).tolist() == replayed.executed_macs.sum(1).tolist() == macs[expected].tolist()
    assert masked.executed_macs.sum(1).tolist() == [macs[-1]] * 24
    assert model.answering(sparse.decisions.numpy()).tolist() == expected
    assert model.needed(sparse.decisions).int().argmax(1).tolist() == expected
    assert (model.needed(sparse.decisions).sum(1) == 1).all()
    assert model.claimed(sparse.decisions.numpy()) == pytest.approx(100 * (1 - np.cumsum(TIMES)[expected].mean() / 5.0))


def test_imposed_decisions_of_a_cascade():
    model, x = router("cascade"), images(20)
    on = model.random_decisions(20, np.random.default_rng(0))
    assert model.legal(on).all() and len({tuple(row) for row in on.tolist()}) > 3
    with torch.no_grad():
        masked, sparse = model.infer(x, "masked", on), model.infer(x, "sparse", on)
        outputs = model.answers(x)
    last = [max(e for e in range(3) if row[e]) for row in on.tolist()]
    assert torch.allclose(masked.logits, outputs[torch.arange(20), last], atol=1e-4)
    assert torch.allclose(sparse.logits, masked.logits, atol=1e-4)
    assert sparse.executed_macs.sum(1).tolist() == (on.double() @ torch.tensor([unit.macs for unit in model.units]).double()).tolist()
    with pytest.raises(ValueError, match="one expert or more"):
        model.infer(x, "sparse", torch.zeros_like(on))


def test_thresholds_of_a_cascade_are_the_best_of_all_that_are_tried():
    draw = np.random.default_rng(0)
    scores, losses = draw.random((60, 3)).astype(np.float32), draw.exponential(size=(60, 3))
    method, weights = router("cascade").method, (0.3, 0.8)
    for weight, policy in zip(weights, method.policies(scores, losses, np.array(TIMES), weights), strict=True):

        def objective(thresholds, weight=weight):
            taken = [next((e for e in range(2) if row[e] >= thresholds[e]), 2) for row in scores]
            loss, time = losses[np.arange(60), taken].mean(), np.cumsum(TIMES)[taken].mean()
            return weight * loss / 3 + (1 - weight) * (time - 1) / 4

        tried = candidates(scores)
        assert len(tried) > 1000 and {value for each in tried for value in each} <= {*scores.ravel().tolist(), math.inf}
        assert objective(policy) == pytest.approx(min(map(objective, tried)))


# All of them


@pytest.mark.parametrize("gater", GATERS)
def test_executors_and_replay_agree_and_weights_keep_what_was_learned_and_chosen(gater):
    model, batch = learned(gater)
    x = images(12, seed=3)
    with torch.no_grad():
        outputs, others = model.answers(x), images(30, seed=4)
        scores = model.scores(others, model.answers(others))
        losses = np.random.default_rng(0).exponential(size=(30, 3))
        model.policy = model.method.policies(scores.numpy(), losses, np.array(TIMES), [0.9])[0]
        masked, sparse, replayed = model.infer(x, "masked"), model.infer(x), model.replay(x, outputs)
        single = [model.infer(each) for each in x.split(1)]
        state = model.state_dict()
        assert not [name for name in state if name.startswith("experts.")]
        other = router(gater)
        other.load_state_dict(state)
        again = other.infer(x)
    assert other.policy == model.policy and len(model.policy) == len(other.policy)
    for output in (masked, replayed, again):
        assert torch.equal(output.decisions, sparse.decisions)
        assert torch.allclose(output.logits, sparse.logits, atol=1e-4)
    assert torch.equal(torch.cat([each.decisions for each in single]), sparse.decisions)
    assert again.executed_macs.tolist() == sparse.executed_macs.tolist() == replayed.executed_macs.tolist()


# What routing is worth


def test_the_oracle_takes_the_cheapest_expert_that_is_right():
    right = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    assert worth.oracle(right, np.array(TIMES)).tolist() == [0, 1, 2, 0]
    assert worth.oracle(right, np.array([5.0, 1.0, 2.0])).tolist() == [1, 1, 2, 1]
    assert worth.gap_recovered(80.0, 70.0, 90.0) == 0.5
    assert worth.gap_recovered(80.0, 90.0, 90.0) is None


def test_the_mix_joins_experts_on_the_chord_alone():
    costs = np.array([4.0, 1.0, 2.0, 5.0])
    mix = Mix.chosen_on(np.array([90.0, 50.0, 60.0, 80.0]), costs)
    assert mix.corners.tolist() == [1, 0]  # the third lies below the chord, and the dearest is worse than the chord's end
    scored = np.array([80.0, 40.0, 99.0, 99.0])
    assert [mix.accuracy(scored, costs, spent) for spent in (0.5, 1.0, 2.5, 4.0, 9.0)] == [40.0, 40.0, 60.0, 80.0, 80.0]
    assert mix.mean_accuracy(scored, costs, 1.0, 4.0) == pytest.approx(60.0)
    assert mix.mean_accuracy(scored, costs, 1.0, 5.0) == pytest.approx((60.0 * 3 + 80.0) / 4)


def test_gain_over_the_mix_at_equal_time():
    right = [[1, 1], [1, 1], [0, 1], [0, 1]]
    part, costs = answered(outputs_of(right), [0] * 4), np.array([1.0, 3.0])
    mix = Mix.chosen_on(part.right.mean(0), costs)
    gain = worth.mix_gain(np.ones(4, bool), costs[[0, 0, 1, 1]], part, costs, mix)  # the oracle: right everywhere, at 2 ms
    assert gain.value == pytest.approx(100 - 75)
    assert gain.low < gain.value <= gain.high


def test_an_images_severities_stay_together():
    draw = np.random.default_rng(0)
    once = draw.random((50, 2))
    apart = worth.resampled_means(once, np.arange(50))
    together = worth.resampled_means(np.tile(once, (4, 1)), np.tile(np.arange(50), 4))
    assert np.allclose(apart, together)  # four copies of an image say no more than one
    independent = worth.resampled_means(np.tile(once, (4, 1)), np.arange(200))
    assert 0.4 < independent.std(0).mean() / together.std(0).mean() < 0.6


def test_area_under_a_curve():
    points = np.array([[1.0, 40.0], [2.0, 70.0], [3.0, 60.0], [5.0, 80.0]])
    assert worth.curve_area(points, points, 1.0, 5.0) == pytest.approx((55.0 + 3 * 75.0) / 4)
    assert worth.single_area(points, points, 1.0, 5.0) == pytest.approx((40.0 + 3 * 70.0) / 4)
    misled = points[:, 1] * [1, 1, 2, 1]  # on validation the third is the best of all
    assert worth.single_area(np.column_stack([points[:, 0], misled]), points, 1.0, 5.0) == pytest.approx((40.0 + 70.0 + 2 * 60.0) / 4)


# Runs

RECIPE = """
model: {name: router, gater: %s, latency_ms: %s}
parents:
  resnet8: {model: resnet8, config: default, epochs: 1, changes: [data.training_severity=clean, data.augment=none]}
  resnet14: {model: resnet14, config: default, epochs: 1, changes: [data.training_severity=clean, data.augment=none]}
  resnet20: {model: resnet20, config: default, epochs: 1, changes: [data.training_severity=random, data.augment=none]}
data:
  name: shapes
  augment: none
  validation: 40
  holdout: 60
  train_on: holdout
  severities: {clean: {}, severe: {blur: 1.2, noise: 0.16}}
  shapes: {train: 300, test: 80, image_size: 16, classes: 4}
training: {epochs: %d, batch_size: 50}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the runs of all tests are, so that experts are trained once."""
    return tmp_path_factory.mktemp("routers")


def command(home, gater, study, epochs=0, losses="", times=TIMES):
    recipe = home / "recipe.yaml"
    recipe.write_text(RECIPE % (json.dumps(gater), times, epochs) + f"study: {json.dumps({'kind': 'routing', **study})}\n" + losses)
    return "train", "router", "--config", str(recipe), "--threads", "1", "--out", str(home / "results")


def finished(gatebench, home, *settings, **further):
    """The folder of a new router, and its rows."""
    before = set(home.glob("results/router-*"))
    gatebench.json(*command(home, *settings, **further))
    (folder,) = set(home.glob("results/router-*")) - before
    return RunFolder(folder), [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("gater", ["neighbours", "entropy", "complexity", "cascade"])
def test_a_rule_is_chosen_and_scored_without_training(gatebench, home, gater):
    folder, rows = finished(gatebench, home, GATERS[gater], {"values": [0.9, 0.3]})
    references = [row for row in rows if "reference" in row]
    rows = [row for row in rows if "reference" not in row]
    whole = [row for row in rows if "severity" not in row]
    assert [row["tradeoff"] for row in whole] == [0.9, 0.3]
    own = {column.name for column in entry("router").columns}
    assert all(own & row.keys() == {"expected_ms"} for row in references)
    assert not any({"policy", "macs_gate", "adaptivity_gain", "audit"} & row.keys() for row in references)
    assert whole[0]["expected_ms"] >= whole[1]["expected_ms"]
    inputs = pd.read_parquet(folder / "inputs.parquet")
    assert whole[0]["accuracy"] == pytest.approx(100 * (inputs["label"] == inputs["prediction"]).mean())
    ran = inputs[["resnet8", "resnet14", "resnet20"]].mean()
    assert whole[0]["expected_ms"] == pytest.approx(float(ran @ np.array(TIMES)))
    for row in whole:
        parts = [each for each in rows if each.get("severity") and each["tradeoff"] == row["tradeoff"]]
        assert [each["severity"] for each in parts] == ["clean", "severe"]
        for column in ("accuracy", "oracle_accuracy", "oracle_agreement_pct", "oracle_ms", "expected_ms"):
            assert np.mean([each[column] for each in parts]) == pytest.approx(row[column])
        assert row["mix_gain_low"] <= row["mix_gain"] <= row["mix_gain_high"]
        assert row["oracle_accuracy"] >= row["accuracy"] and row["curve_area"] > 0
    table = pd.read_csv(folder / "routing.csv")
    assert set(table["curve"]) == {"experts", "random mix", "oracle", "router", "rule"}
    assert set(table["severity"]) == {"all", "clean", "severe"}
    shown = table[(table["curve"] == "router") & (table["severity"] == "all")]
    assert shown["accuracy"].tolist() == pytest.approx([row["accuracy"] for row in whole])
    (axes,) = pictures(folder)["routing"].axes
    assert {"resnet8 alone", "oracle", "random mix of experts"} <= {line.get_label() for line in axes.lines}
    assert (folder / "scores.csv").exists() == (gater in ("entropy", "complexity"))
    model, _, _ = load_run(folder)
    assert len(model.policy) == {"neighbours": 1, "cascade": 2}.get(gater, 5)
    policy = model.policy
    model.operate(whole[1])
    model.operate(whole[0])
    assert model.policy == policy, "a row says how to decide as it did"


def test_a_learned_router_is_set_beside_mix_and_oracle(gatebench, home):
    losses = "losses: {routing: {weight: 0.9}}\ntradeoff: losses.routing.weight\n"
    folder, rows = finished(gatebench, home, LEARNED, {}, epochs=1, losses=losses)
    assert rows[0]["tradeoff"] == 0.9 and "policy" not in rows[0] and sum("reference" not in row for row in rows) == 3
    assert {"mix_gain", "mix_gain_low", "oracle_accuracy", "oracle_agreement_pct", "adaptivity_gain"} <= rows[0].keys()
    experts = pd.read_csv(folder / "routing.csv").query("curve == 'experts' and severity == 'all'").set_index("setting")["accuracy"]
    outputs = pd.read_parquet(next(folder.path.parent.glob("pool-*/test.parquet")))
    right = np.stack(outputs["resnet14"]).argmax(1) == outputs["label"]
    assert experts["resnet14"] == pytest.approx(100 * right.mean())


def test_how_much_of_the_routing_the_image_explains(gatebench, home):
    folder, rows = finished(gatebench, home, {**GATERS["neighbours"], "neighbours": 7}, {"values": [0.95]})
    inputs, roles = pd.read_parquet(folder / "inputs.parquet"), ["resnet8", "resnet14", "resnet20"]
    outputs = pd.read_parquet(next(folder.path.parent.glob("pool-*/test.parquet")))
    logits, labels = np.stack([np.stack(outputs[role]) for role in roles], 1), outputs["label"].to_numpy()
    taken, right = inputs[roles].to_numpy().argmax(1), logits.argmax(2) == labels[:, None]
    assert 1 < rows[0]["patterns"] == len(set(taken))
    other = taken[np.random.default_rng(0).permutation(len(taken))]
    everyone = np.arange(len(taken))
    assert rows[0]["matching_gain"] == pytest.approx(100 * (right[everyone, taken].mean() - right[everyone, other].mean()))
    losses = scipy.special.logsumexp(logits[:, 2], axis=1) - logits[everyone, 2, labels]
    assert rows[0]["loss_correlation"] == pytest.approx(scipy.stats.spearmanr(inputs["macs_executed"], losses).statistic, abs=1e-3)


def test_each_expert_alone_and_the_oracle_are_rows_of_their_own(gatebench, home):
    folder, rows = finished(gatebench, home, {**GATERS["neighbours"], "neighbours": 5}, {"values": [0.7]})
    references = {(row["reference"], row.get("severity")): row for row in rows if "reference" in row}
    names = ["resnet8 alone", "resnet14 alone", "resnet20 alone", "oracle"]
    assert list(references) == [*((name, None) for name in names), *((name, part) for name in names for part in ("clean", "severe"))]
    outputs = pd.read_parquet(next(folder.path.parent.glob("pool-*/test.parquet")))
    right = np.stack([np.stack(outputs[role]).argmax(1) == outputs["label"] for role in ("resnet8", "resnet14", "resnet20")], 1)
    macs = [create(name, CLASSES, SHAPE).macs_static for name in ("resnet8", "resnet14", "resnet20")]
    for part in (None, "clean", "severe"):
        of_part = right[slice(None) if part is None else outputs["severity"] == part]
        for number, name in enumerate(names[:3]):
            row = references[name, part]
            assert row["accuracy"] == pytest.approx(100 * of_part[:, number].mean())
            assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] and not row["adaptive"]
            assert row["expected_ms"] == TIMES[number] and row["skip_pct"] == 100 * (1 - TIMES[number] / 5) and row["shares"][number] == 1
            assert row["macs_executed"] == row["macs_decided"] == macs[number], "no gater looked"
        ideal = references["oracle", part]
        cheapest = np.where(of_part.any(1), of_part.argmax(1), 0)
        assert ideal["accuracy"] == pytest.approx(100 * of_part.any(1).mean()) and ideal["adaptive"]
        assert ideal["expected_ms"] == pytest.approx(np.array(TIMES)[cheapest].mean())
        assert ideal["macs_executed"] == pytest.approx(np.array(macs)[cheapest].mean())
    (run,), _ = read_runs(folder.path)
    assert len(run.points) == 3 and len(run.references) == 12 and not any("latency_ms" in row for row in run.references)


def test_parents_that_do_not_stand_in_the_order_of_their_times_are_found(gatebench, home):
    """The last one is the static twin, and a cascade asks in their order."""
    for times, found in (([1.0, 5.0, 2.0], ["resnet20 takes 2 ms and comes after resnet14 with 5 ms"]), ([1.0, 2.0, 2.0], [])):
        _, (row, *_) = finished(gatebench, home, GATERS["cascade"], {"values": [0.8]}, times=times)
        findings = [each for each in row["audit"] if each.startswith("unordered parents")]
        assert [each.partition(": ")[2].partition("; ")[0] for each in findings] == found
        assert all("name parents from the fastest to the slowest" in each for each in findings)


@pytest.mark.parametrize(
    ("gater", "study", "message"),
    [
        ({"kind": "cascade"}, {}, "Give one lambda or more"),
        ({"kind": "learned", **SMALL}, {"values": [0.5]}, "a learned router has no thresholds to choose"),
        ({"kind": "complexity"}, {"values": [0.5, 0.5]}, "once"),
        ({"kind": "complexity"}, {"values": [1.5]}, "1.5"),
        ({"kind": "elsewhere"}, {}, "elsewhere"),
    ],
)
def test_a_study_that_does_not_fit_is_refused_in_a_sentence(gatebench, tmp_path, gater, study, message):
    assert message in gatebench.refused(*command(tmp_path, gater, study), code=2)


def test_every_recipe_of_a_router_has_its_small_twin():
    names = [name for family, name in available("router")]
    for name in names:
        recipe = recipe_of("router", "router", name)
        assert recipe.study is not None
        assert not recipe.fallback or recipe.fallback in names
        assert bool(recipe.fallback) == (recipe.data.name != "shapes")


def test_the_study_is_for_routers_alone():
    from gatebench.data.settings import Data
    from gatebench.models.experts.settings import RoutingStudy

    with pytest.raises(UsageError, match="for a router"):
        RoutingStudy(values=(0.5,)).check(create("resnet8", CLASSES, SHAPE), Data(validation=10), sized=True)


@pytest.mark.parametrize("gater", ["neighbours", "entropy", "complexity", "learned"])
def test_scores_keep_their_digits_where_networks_run_in_bf16(gater):
    model = router(gater) if gater == "learned" else learned(gater)[0]
    if gater == "learned":  # whose head begins at zero
        torch.nn.init.normal_(model.method.head.weight)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model.scores(images(50, seed=2), None)
    assert scores.dtype == torch.float32 and not torch.equal(scores, scores.bfloat16().float())
