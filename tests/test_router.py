"""A router between frozen networks: Algorithm 1, stored outputs instead of running them, the pool, and messages about a wrong one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Silent
from test_models import images
from torch import nn

from gatebench import assignment, stages, trained
from gatebench import recipe as recipes
from gatebench.contract import Output, Prepare
from gatebench.data.batches import Batches
from gatebench.errors import GatebenchError, UsageError
from gatebench.losses import Batch, Clock
from gatebench.models.experts.learned import one_hot_through, routing_loss
from gatebench.models.experts.settings import RoutingLoss
from gatebench.models.registry import create
from gatebench.plan import plan

SHAPE = 3, 20, 20
PRINTED = 2.14, 10.59, 7.56
"""Milliseconds of the paper's experts."""


def router(milliseconds=(1.0, 3.0, 2.0), size=20):
    torch.manual_seed(0)
    prepare = Prepare(SHAPE[1:], (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    experts = {name: create(model, 5, SHAPE).eval() for name, model in (("a", "resnet8"), ("b", "resnet14"), ("c", "resnet8"))}
    for expert in experts.values():
        expert.prepare = prepare
    made = create("router", 5, SHAPE, experts, gater={"kind": "learned", "size": size, "pretrained": False}, latency_ms=milliseconds)
    with torch.no_grad():  # so that every expert gets some images
        made.method.head.weight.normal_(0.0, 3.0)
        made.method.head.bias -= made.gater(images(200, size=20)).median(0).values
    return made


def test_the_loss_against_numbers_by_hand():
    """Section 3.5 with the printed times: two images, three experts."""
    soft = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    expected = np.array([0.7 * 2.14 + 0.2 * 10.59 + 0.1 * 7.56, 0.5 * 10.59 + 0.5 * 7.56])
    entropy = np.log1p(np.exp(-2)), np.log1p(np.exp(1))
    for weight in (0.0, 0.7, 1.0):
        by_hand = weight * np.mean(entropy) / 3 + (1 - weight) * np.mean((expected - 2.14) / 8.45)
        loss = routing_loss(Output(logits, soft), labels, PRINTED, RoutingLoss(weight=weight))
        assert float(loss) == pytest.approx(by_hand, rel=1e-6)


def test_the_expected_loss_is_the_mean_of_every_experts_under_the_soft_choice():
    """Whatever was sampled; its gradient is each expert's loss, however large its logits are."""
    soft, labels = torch.tensor([[0.7, 0.3], [0.4, 0.6]], requires_grad=True), torch.tensor([0, 1])
    outputs = torch.tensor([[[2.0, 0.0], [0.0, 9.0]], [[0.0, 0.0], [1.0, 3.0]]])
    losses = torch.tensor([[np.log1p(np.exp(-2)), np.log1p(np.exp(9))], [np.log(2), np.log1p(np.exp(-2))]], dtype=torch.float32)
    sampled = Output(torch.randn(2, 2), soft, details={"outputs": outputs})
    loss = routing_loss(sampled, labels, (1.0, 2.0), RoutingLoss(weight=1.0, estimator="expected"))
    assert loss.item() == pytest.approx(float((soft.detach() * losses).sum(1).mean()) / 3, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, soft)
    assert torch.allclose(gradient, losses / 6)


def test_straight_through_is_one_hot_forward_and_soft_backward():
    soft = torch.tensor([[0.2, 0.5, 0.3]], requires_grad=True)
    through = one_hot_through(soft)
    assert through.tolist() == [[0.0, 1.0, 0.0]]
    (through * torch.tensor([3.0, 5.0, 7.0])).sum().backward()
    assert soft.grad.tolist() == [[3.0, 5.0, 7.0]]


@pytest.mark.parametrize("weight", [0.6, 1.0])
def test_stored_outputs_give_the_gradients_of_algorithm_1(weight):
    """Against the algorithm line by line, with the experts in the loop."""
    net, x, labels = router(PRINTED), images(16, size=20), torch.arange(16) % 5
    gater = [each for each in net.gater.parameters()]

    torch.manual_seed(1)
    scores = net.gater(x)
    noise = -torch.log(-torch.log(torch.rand_like(scores)))
    soft = torch.softmax((scores + noise) / 1.0, 1)
    hard = torch.nn.functional.one_hot(soft.argmax(1), 3).float()
    z = hard - soft.detach() + soft
    final = sum(z[:, number, None] * expert(x) for number, expert in enumerate(net.experts))
    classified = torch.nn.functional.cross_entropy(final, labels) / 3.0
    times = torch.tensor(PRINTED)
    expected = (soft * times).sum(1)
    latency = ((expected - times.min()) / (times.max() - times.min())).mean()
    wanted = torch.autograd.grad(weight * classified + (1 - weight) * latency, gater)

    loss = RoutingLoss(weight=weight).bind(net, {})
    with torch.no_grad():
        outputs = net.answers(x)
    for stored in (None, outputs):
        torch.manual_seed(1)
        output = net(x) if stored is None else net(x, stored)
        given = torch.autograd.grad(loss(output, Batch(x, labels), Clock(0, 1)), gater)
        for one, other in zip(given, wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)
    assert max(float(each.abs().max()) for each in wanted) > 1e-5, "the test wants gradients"


def test_a_replay_says_what_running_the_experts_says():
    net, x = router().eval(), images(40, size=20)
    with torch.inference_mode():
        ran, replayed = net.infer(x), net.replay(x, net.answers(x))
    assert torch.equal(ran.decisions, replayed.decisions) and torch.equal(ran.gates, replayed.gates)
    assert torch.allclose(ran.logits, replayed.logits, atol=1e-5)
    assert torch.equal(ran.executed_macs, replayed.executed_macs)
    assert len(ran.decisions.unique(dim=0)) > 1, "the test wants images at several experts"


def test_weights_are_the_gaters_alone():
    net, other = router(), router()
    assert all(name.startswith("gater.") for name in net.state_dict())
    nn.init.normal_(net.method.head.weight)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.method.head.weight, net.method.head.weight)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({name: tensor for name, tensor in net.state_dict().items() if "head" not in name})


def test_each_expert_sees_images_normalised_as_it_wants():
    torch.manual_seed(0)
    x, mean, std = torch.rand(6, *SHAPE), torch.tensor([0.4, 0.5, 0.6])[:, None, None], torch.tensor([0.3, 0.2, 0.1])[:, None, None]
    experts = {name: create("resnet8", 5, SHAPE).eval() for name in ("a", "b")}
    experts["a"].prepare = Prepare(SHAPE[1:], tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()))
    experts["b"].prepare = Prepare(SHAPE[1:], (0.0,) * 3, (1.0,) * 3)
    net = create("router", 5, SHAPE, experts, gater={"kind": "learned", "size": 20, "pretrained": False})
    assert net.prepare == experts["b"].prepare
    with torch.inference_mode():
        alone = experts["a"].infer((x - mean) / std).logits
        assert torch.allclose(net.experts[0](x), alone, atol=1e-4)
        assert torch.allclose(net.references()["a alone"](x), alone, atol=1e-4)


def test_the_gater_starts_from_squeezenet():
    from torchvision.models import squeezenet1_1

    state, net = squeezenet1_1().state_dict(), router()
    net.start_from(state)
    assert torch.equal(net.method.features[0].weight, state["features.0.weight"])
    with pytest.raises(ValueError, match="they have no features.0.weight"):
        net.start_from({})
    with pytest.raises(ValueError, match="features.0.weight is \\[3\\], wanted is \\[64, 3, 3, 3\\]"):
        net.start_from({**state, "features.0.weight": torch.zeros(3)})


@pytest.mark.parametrize("kind", ["complexity", "cascade"])
def test_a_router_without_first_weights_says_so(kind):
    experts = {name: create("resnet8", 5, SHAPE) for name in ("a", "b")}
    with pytest.raises(UsageError, match="starts from no weights. Leave --weights out"):
        create("router", 5, SHAPE, experts, gater={"kind": kind}).start_from({})


def test_what_is_looked_up_is_claimed():
    """Half of the images at 1 ms, half at 2 ms, where the last expert takes 2 ms; and the shares."""
    net = router((1.0, 3.0, 2.0)).eval()
    decisions = np.array([[True, False, False], [False, False, True]])
    assert net.claimed(decisions) == pytest.approx(25.0)

    class Done:
        labels = np.zeros(2)

    Done.decisions = decisions
    assert net.measured(Done) == {"shares": [0.5, 0.0, 0.5], "share_names": ["a", "b", "c"], "expected_ms": 1.5}


def test_the_strongest_expert_alone_saves_nothing_to_the_last_digit():
    """The mean of 750 times of 19.3 ms is not quite that."""
    decisions = np.tile([False, False, True], (750, 1))
    assert router((2.9, 9.21, 19.3)).claimed(decisions) == 0


def test_wrong_experts_and_times_are_named():
    static, gated, small = create("resnet8", 5, SHAPE), create("cosinegate", 5, SHAPE, depth=8), create("resnet8", 5, (3, 16, 16))
    small.prepare = Prepare((16, 16), (0.5,) * 3, (0.2,) * 3)
    for parents, options, said in (
        ({"a": static}, {}, "needs two experts or more"),
        ({"a": static, "b": gated}, {}, "parents.b has gates of its own"),
        ({"a": small, "b": static}, {}, "parents.a was trained on images of 16 x 16, the router's are 20 x 20"),
        ({"a": static, "b": static}, {"latency_ms": [1.0, 2.0, 3.0]}, "latency_ms has 3 times for 2 experts"),
        ({"a": static, "b": static}, {"gater": {"kind": "learned", "size": 8}}, "model.gater.size = 8 leaves nothing"),
        ({"a": static, "b": static}, {"latency_ms": [0.0, 1.0]}, r"latency_ms\.0 = 0.0 is not allowed: input should be greater than 0\.$"),
        ({"a": static, "b": static}, {"latency_ms": "fast"}, "latency_ms = 'fast' is not allowed: input should be 'measured'"),
    ):
        with pytest.raises(UsageError, match=said):
            create("router", 5, SHAPE, parents, **options)
    with pytest.raises(UsageError, match="all experts take the same time"):
        RoutingLoss(weight=0.5).check(router((2.0, 2.0, 2.0)))
    with pytest.raises(UsageError, match="losses.routing: it is for a router between experts"):
        RoutingLoss(weight=0.5).check(static)


# Through the stages

SMALL = ["data.shapes.train=160", "data.shapes.test=30", "data.shapes.image_size=20", "data.validation=20", "data.holdout=40",
         "training.batch_size=16"]  # fmt: skip
TIMES = "model.latency_ms=[1.0, 2.0, 4.0]"


def job(root, *changes, config="small"):
    recipe = recipes.load("router", "router", config, [*SMALL, *changes])
    for parent in list(recipe.parents):
        recipe.parents[parent] = recipe.parents[parent].model_copy(update={"epochs": 1})
    recipe = recipe.with_epochs(1) if recipe.training.epochs else recipe
    return plan(recipe, [0], data_root=root, device="cpu", precision="fp32", threads=1)


def test_experts_of_other_classes_are_refused_before_anything_is_trained(tmp_path):
    recipe = recipes.load("router", "router", "small", SMALL)
    recipe.parents["resnet8"] = recipe.parents["resnet8"].model_copy(update={"changes": ("data.shapes.classes=3",)})
    jobs = plan(recipe, [0], data_root=tmp_path, device="cpu", precision="fp32", threads=1)
    with pytest.raises(UsageError, match=r"parents.resnet8 is trained on other classes \(3\) than the run itself \(10\)"):
        run(jobs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def run(jobs, out):
    return [folder for _, folder in stages.run(jobs, assignment.Place(out), Silent)]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """A router's run with its experts and their pool, all times fixed."""
    out = tmp_path_factory.mktemp("routing")
    return run(job(out, TIMES), out), out


def test_an_evaluation_reads_the_weights_of_each_expert_once(pooled, monkeypatch):
    _, out = pooled
    *experts, last = job(out, TIMES)
    run = assignment.Assignment([*experts, last], assignment.Place(out), Silent).runs[last.key]
    read, seen = trained.read_weights, []
    monkeypatch.setattr(trained, "read_weights", lambda path: seen.append(path) or read(path))
    stages.evaluate(run, Silent())
    assert len(seen) == len(set(seen)) == 1 + len(experts)


def test_parts_of_experts_router_and_choice_have_no_image_in_common(pooled):
    _, out = pooled
    *experts, last = job(out, TIMES)
    routed = assignment.load_data(last)
    parts = [routed.train.clean, routed.validation.clean, *(assignment.load_data(each).train for each in experts)]
    seen = [{image.tobytes() for image in (part.clean if hasattr(part, "clean") else part).pixels} for part in parts]
    assert [len(each) for each in seen] == [40, 20, 100, 100, 100]
    assert not seen[0] & seen[1] and not any(each & (seen[0] | seen[1]) for each in seen[2:])


def test_the_pool_holds_what_another_router_can_be_replayed_on(pooled):
    (*_, folder), out = pooled
    (pool,) = out.glob("pool-*")
    content = json.loads((pool / "pool.json").read_text())
    assert list(content["members"]) == ["resnet8", "resnet14", "resnet26"] and content["times"] == []
    for part, count in (("train", 4 * 40), ("test", 4 * 30)):
        table = pq.read_table(pool / f"{part}.parquet")
        assert table.column_names == ["image", "severity", "label", *content["members"]] and len(table) == count
        assert table["severity"].unique().to_pylist() == ["clean", "mild", "moderate", "severe"]
    expert = out / content["members"]["resnet14"]
    row = json.loads((expert / "summary.json").read_text())
    logits = np.stack(table["resnet14"].to_pylist())
    assert 100 * (logits.argmax(1) == table["label"].to_numpy()).mean() == pytest.approx(row["accuracy"])
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "reference" not in row]
    assert [row.get("severity") for row in rows] == [None, "clean", "mild", "moderate", "severe"]
    assert rows[0]["accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in rows[1:]]))
    assert rows[0]["tradeoff"] == 0.7 and sum(rows[0]["shares"]) == pytest.approx(1) and rows[0]["share_names"] == list(content["members"])
    chosen = pq.read_table(folder / "inputs.parquet").to_pandas()[list(content["members"])].to_numpy().argmax(1)
    outputs = np.stack([np.stack(table[role].to_pylist()) for role in content["members"]], 1)
    replayed = outputs[np.arange(len(chosen)), chosen].argmax(1) == table["label"].to_numpy()
    assert 100 * replayed.mean() == pytest.approx(rows[0]["accuracy"])


def with_made_up_outputs(pool):
    """Experts of three skills on images of all difficulties, the same in all severities, and surer where they are right."""
    draw = np.random.default_rng(0)
    for part in ("train", "validation", "test"):
        table = pq.read_table(pool / f"{part}.parquet")
        images, number = np.unique(table["image"].to_numpy(), return_inverse=True)
        labels, difficulty = table["label"].to_numpy(), draw.random(len(images))[number]
        for column, skill in enumerate((0.3, 0.5, 0.8), 3):
            right = difficulty + 0.1 * draw.standard_normal(len(table)) < skill
            logits = np.zeros((len(table), 10), np.float32)
            logits[np.arange(len(table)), np.where(right, labels, (labels + 1) % 10)] = 3 + 3 * right + 3 * draw.random(len(table))
            table = table.set_column(column, table.column_names[column], [list(logits)])
        pq.write_table(table, pool / f"{part}.parquet")


def test_the_gain_over_the_mix_is_bootstrapped_over_images_their_severities_together(pooled, tmp_path):
    out = Path(shutil.copytree(pooled[1], tmp_path / "out"))
    costs, (pool,) = np.array([1.0, 2.0, 10.0]), out.glob("pool-*")
    with_made_up_outputs(pool)
    folder = run(job(out, "model.latency_ms=[1.0, 2.0, 10.0]", "study.values=[0.9]", config="cascade-small"), out)[-1]
    table = pq.read_table(pool / "test.parquet")
    roles, image = table.column_names[3:], table["image"].to_numpy()
    right = np.stack([np.stack(table[role].to_pylist()).argmax(1) == table["label"].to_numpy() for role in roles], 1)
    inputs = pq.read_table(folder / "inputs.parquet").to_pandas()
    own, spent = (inputs["label"] == inputs["prediction"]).to_numpy(), inputs[roles].to_numpy() @ costs

    def gain(rows):
        return 100 * (own[rows].mean() - np.interp(spent[rows].mean(), costs, right[rows].mean(0)))

    def bounds(groups):
        draw = np.random.default_rng(1)
        gains = [gain(np.concatenate([groups[each] for each in draw.integers(0, len(groups), len(groups))])) for _ in range(2000)]
        return np.quantile(gains, [0.025, 0.975])

    together, apart = bounds([np.flatnonzero(image == each) for each in np.unique(image)]), bounds(np.arange(len(image))[:, None])
    (row, *_) = (json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines())
    assert len(np.unique(image)) == 30 and row["mix_gain"] == pytest.approx(gain(np.arange(len(image))))
    given = np.array([row["mix_gain_low"], row["mix_gain_high"]])
    assert np.abs(given - together).max() < 0.1 * np.ptp(together) < 0.5 * (np.ptp(together) - np.ptp(apart))


def test_another_weight_uses_what_is_there(pooled):
    _, out = pooled
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (other,) = run(job(out, TIMES, "losses.routing.weight=0.9"), out)[-1:]
    assert {path: path.stat().st_mtime_ns for path in before} == before and other.finished
    assert other.read_json("summary.json")["tradeoff"] == 0.9


def test_measured_times_are_kept_and_enter_the_identity(pooled):
    (*_, folder), out = pooled
    first = run(job(out), out)[-1]
    (pool,) = out.glob("pool-*")
    (measured,) = json.loads((pool / "pool.json").read_text())["times"]
    milliseconds = recipes.read(first / "recipe.yaml").model.options["latency_ms"]
    assert milliseconds == list(measured["latency_ms"].values()) and all(value > 0 for value in milliseconds)
    assert (measured["device"], measured["threads"]) == ("cpu", 1)
    assert first.path != folder.path and run(job(out), out)[-1].path == first.path, "they are measured once"
    expert = out / json.loads((pool / "pool.json").read_text())["members"]["resnet26"]
    (times,) = (expert / "times").glob("*.jsonl")
    assert json.loads(times.read_text())["latency_ms"] == pytest.approx(measured["latency_ms"]["resnet26"], rel=0.01)


def test_a_pool_of_other_images_is_refused(pooled, tmp_path):
    _, out = pooled
    copy = Path(shutil.copytree(out, tmp_path / "out"))
    (pool,) = copy.glob("pool-*")
    table = pq.read_table(pool / "test.parquet")
    pq.write_table(table.set_column(2, "label", [np.zeros(len(table), np.int64)]), pool / "test.parquet")
    with pytest.raises(GatebenchError, match="test.parquet is damaged.*Remove it, and it is computed again"):
        run(job(out, TIMES, "losses.routing.weight=0.4"), copy)


def test_batches_carry_the_outputs_of_their_images():
    from gatebench.data.images import Images

    pixels = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 3), dtype=np.uint8)
    outputs = torch.arange(10 * 2 * 5).view(10, 2, 5).float()
    batches = Batches(Images(pixels, np.arange(10)), (0.0,) * 3, (1.0,) * 3, batch_size=4, device=torch.device("cpu"), outputs=outputs)
    for batch in batches.shuffled(3):
        assert torch.equal(batch.outputs, outputs[batch.labels])
