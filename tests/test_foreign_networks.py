"""Networks that nobody here made: they are timed as they are, what they execute is counted, and what cannot be said of them is named.

Each is small and deterministic, and stands for a kind that people have. Images are dark and light in turns, so that a network can decide.
"""

import json
import os
import random
import re
import threading
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention
from torch.utils._python_dispatch import _get_current_dispatch_mode
from typer.testing import CliRunner

from gatebench.cli import app
from gatebench.contract import GatedModel, Output, Unit
from gatebench.data.images import Dataset, Images
from gatebench.errors import GatebenchError, UsageError
from gatebench.measure.macs import count
from gatebench.profiling import answers, layouts
from gatebench.profiling.contender import Contender
from gatebench.profiling.elsewhere import Elsewhere, ready_together
from gatebench.profiling.executed import counted_again, executed, findings
from gatebench.profiling.networks import Network
from gatebench.profiling.outside import RULE, maker, output_to_stderr
from gatebench.profiling.session import Plan, run
from gatebench.profiling.timing import Rival
from gatebench.profiling.view import too_long
from gatebench.report.latency_table import sheets
from gatebench.runtimes.fold import same_answers

CPU = torch.device("cpu")
CALLS = 8
FIRST, SECOND, HEAD = 8 * 27 * 36, 8 * 72 * 36, 8 * 5
"""MACs of the parts of `Base` for one image."""
WHOLE = FIRST + SECOND + HEAD


def dataset():
    pixels = np.random.default_rng(0).integers(0, 56, (64, 12, 12, 3), np.uint8)
    pixels[::2] += 200
    images = Images(pixels, np.arange(64) % 5)
    return Dataset("noise", list("abcde"), images, images, (0.5,) * 3, (0.25,) * 3)


DATA = dataset()


def timed(make, output=None, layout=None, again=True, batch=1):
    """The network made ready, and what it executes; without `again` its factory can make only one."""
    torch.manual_seed(0)
    network = Network("net", make(), DATA, make=make if again else None)
    numbers = np.arange(CALLS * batch).reshape(CALLS, batch)
    calls = [network.batch(each, CPU) for each in numbers]
    (ready,) = ready_together([Elsewhere(network, calls, output)], layout)
    contender = Contender(network, numbers, CPU, np.random.default_rng(0), prepared=ready)
    return contender, executed(contender)


class Base(nn.Module):
    """Convolution, norm, convolution, head: whatever a network below does with them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.second, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 5)
        self.norm.running_mean.uniform_(-0.5, 0.5)
        self.norm.running_var.uniform_(0.5, 2)

    def begin(self, x):
        return self.norm(self.first(x)).relu()

    def end(self, x):
        return self.head(x.mean((2, 3)))

    def both(self, x):
        return self.end(self.second(self.begin(x)))


def network(forward, base=Base, **attributes):
    """A class of networks with that forward."""
    return type("Net", (base,), {"forward": forward, **attributes})


Plain = network(lambda self, x: self.both(x))


# Folding


class OutOfOrder(Base):
    """Its norm stands behind the second convolution in the list, but before it in the computation; a later exit alone shows it."""

    def __init__(self):
        super().__init__()
        self.third, self.late_norm = nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.late_norm.running_mean.fill_(0.5)

    def exits(self, x):
        x = self.begin(x)
        return [self.end(x), self.end(self.third(self.late_norm(x)))]


class Stops(OutOfOrder):
    """The second exit decides whether there is a third: for light images there is. Folded, it would be for all."""

    def forward(self, x):
        exits = self.exits(x)
        return [*exits, self.both(x)] if exits[1][0, 3] > 0.18 else exits


def only_where_it_stops(self, x):
    """The answer is the same whatever runs."""
    exits = self.exits(x)
    if exits[1][0, 3] > 0.18:
        self.second(self.begin(x))
    return exits[0]


@dataclass
class Dataclass:
    logits: torch.Tensor
    late: torch.Tensor


Named = namedtuple("Named", "logits late")
FORMS = {
    "list": lambda first, late: [first, late],
    "tuple": lambda first, late: (first, late),
    "mapping": lambda first, late: {"logits": first, "late": late},
    "ordered mapping": lambda first, late: OrderedDict(logits=first, late=late),
    "nested list": lambda first, late: [[first], [[late]]],
    "mapping of lists": lambda first, late: {"exits": [first, late], "index": torch.tensor(1)},
    "dataclass": Dataclass,
    "named tuple": Named,
    "object": lambda first, late: SimpleNamespace(logits=first, hidden=None, late=late),
    "number of Python": lambda first, late: (first, late.sum().item()),
    "index of Python": lambda first, late: (first, int(10_000 * late.sum().item())),
    "index": lambda first, late: (first, (10_000 * late.sum()).long()),
    "array": lambda first, late: (first, late.numpy()),
    "flags": lambda first, late: (first, late > first),
    "shape": lambda first, late: (first, torch.zeros(int(1000 * late.abs().sum()))),
    "text": lambda first, late: (first, str(late.tolist())),
    "stacked": lambda first, late: torch.stack([first, late]),
}


@pytest.mark.parametrize("form", FORMS)
def test_folding_is_refused_where_any_part_of_an_answer_changes(form):
    wrong = network(lambda self, x: FORMS[form](*self.exits(x)), OutOfOrder)
    right = network(lambda self, x: FORMS[form](self.end(self.begin(x)), self.both(x)))
    assert not timed(wrong)[0].folded
    if form not in ("index of Python", "index", "shape", "text", "flags"):  # which turn on the last digit of rounding
        assert timed(right)[0].folded


def test_folding_is_refused_where_another_part_would_run():
    assert not timed(network(only_where_it_stops, OutOfOrder))[0].folded
    contender, done = timed(Stops)
    torch.manual_seed(0)
    original = Stops().eval()
    exits = np.array([len(original(x)) for x in contender.calls])
    assert not contender.folded and set(exits) == {2, 3}
    assert done.macs.tolist() == (WHOLE + HEAD + (exits == 3) * WHOLE).tolist()


def test_one_input_of_many_is_enough_to_refuse_folding():
    def rarely(self, x):
        exits = self.exits(x)
        return exits[1] if (x.mean() - self.last).abs() < 1e-4 else exits[0]

    make = network(rarely, OutOfOrder, last=9.0)
    assert timed(make)[0].folded
    torch.manual_seed(0)
    make.last = Network("net", make(), DATA).batch(np.array([CALLS - 1]), CPU).mean()
    assert not timed(make)[0].folded


def test_a_part_that_is_named_is_what_has_to_stay_the_same():
    make = network(lambda self, x: {"exits": self.exits(x), "none": None}, OutOfOrder)
    assert timed(make, "exits.0")[0].folded and not timed(make, "exits.-1")[0].folded
    assert timed(network(lambda self, x: self.both(x)), "logits")[0].folded  # one tensor has no parts


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0005], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([1.0, -np.inf], [1.0, -np.inf], True),
        ([1.0, -np.inf], [1.0, np.inf], False),
        ([1.0, 5.0], [1.0, -np.inf], False),
        ([1.0, np.nan], [1.0, np.nan], False),
        ([], [], True),
        ([0.0], [0.0], True),
        ([1000], [1001], False),
        ([1000], [1000], True),
        ([True, False], [True, True], False),
        ([1], [1.0], False),
        ([1.0, 2.0], [1.0], False),
    ],
)
def test_answers_agree_up_to_rounding(first, second, same):
    assert same_answers(torch.tensor(first), torch.tensor(second)) is same


# The same input, another answer


def by_chance(draw, computes=True):
    """Half of the time, by what `draw(self)` gives in [0, 1], the second convolution runs; or is multiplied by nothing."""

    def forward(self, x):
        x = self.begin(x)
        if computes:
            return self.end(self.second(x) if draw(self) > 0.5 else x)
        return self.end(x + (draw(self) > 0.5) * self.second(x))

    return network(forward)


def counting(self):
    self.number = getattr(self, "number", 0) + 1
    return self.number % 2


def own_generator(self):
    if not hasattr(self, "generator"):
        self.generator = torch.Generator().manual_seed(0)
    return torch.rand(1, generator=self.generator)


UNSEEDED = random.Random(0)
RANDOM = {
    "torch's numbers": (by_chance(lambda self: torch.rand(1)), True),
    "numpy's numbers": (by_chance(lambda self: np.random.rand()), True),
    "Python's numbers": (by_chance(lambda self: random.random()), True),
    "numbers that nobody seeds": (by_chance(lambda self: UNSEEDED.random()), False),
    "a generator of its own": (by_chance(own_generator), False),
    "a counter of calls": (by_chance(counting), False),
    "Gumbel noise": (by_chance(lambda self: F.gumbel_softmax(torch.zeros(2), hard=True)[0]), True),
    "Bernoulli": (by_chance(lambda self: torch.bernoulli(torch.tensor(0.5))), True),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_network_that_decides_by_chance_is_found_out(kind):
    make, by_seed = RANDOM[kind]
    contender, done = timed(make)
    (finding,) = findings(contender, done)
    assert finding.startswith("answers differently to the same input: in ") and contender.folded is by_seed
    assert FIRST + HEAD < done.macs.mean() < WHOLE and done.counts.shape == (5, CALLS) and done.deviation is not None
    assert {done.counts.min(), done.counts.max()} == {FIRST + HEAD, WHOLE} and "5 counts" in finding


OTHER = "does other work for the same input"


def kept_by(key):
    """Keeps what `work` gives for an input, by something of it."""

    def forward(self, x, work):
        self.answers = getattr(self, "answers", {})
        if key(x) not in self.answers:
            self.answers[key(x)] = work(x)
        return self.answers[key(x)]

    return forward


BYTES, SUM = kept_by(lambda x: x.contiguous().numpy().tobytes()), kept_by(lambda x: x.sum().item())
MEMOS = {
    "answers by their bytes": lambda self, x: BYTES(self, x, self.both),
    "answers by their sum": lambda self, x: SUM(self, x, self.both),
    "features": lambda self, x: self.end(SUM(self, x, lambda x: self.second(self.begin(x)))),
}


@pytest.mark.parametrize("kind", MEMOS)
def test_a_network_that_keeps_its_answers_saves_nothing(kind):
    """It is timed on inputs that it has seen before, which says nothing of new ones."""
    contender, done = timed(network(MEMOS[kind]))
    finding = findings(contender, done)[0]
    assert finding.startswith(f"{OTHER}: in {CALLS - 1} of {CALLS} calls")  # the first one's answer was kept when it was warmed up
    assert finding.endswith("its times are those of inputs that it has seen before")
    assert contender.uncounted == ("work at the first sight of an input",) and not done.counted


@pytest.mark.parametrize(("make", "seen"), [(network(MEMOS["features"]), True), (Plain, None)])
def test_a_row_says_that_its_inputs_were_seen_before(make, seen):
    plan = Plan(CPU, threads=1, batch_size=1, executions=("sparse",), inputs=CALLS, rounds=5, max_seconds=1)
    ((timing,),) = run([Network("net", make(), DATA, make=make)], None, plan, lambda done: None).timings
    assert timing.row().get("seen_before") is seen


def test_work_that_leaves_the_answer_as_it_is_counts_by_mean_and_spread():
    def wasted(self, x):
        if torch.rand(1) > 0.5:
            self.second(self.begin(x))
        return self.end(self.begin(x))

    contender, done = timed(network(wasted))
    (finding,) = findings(contender, done)
    assert finding.startswith(f"{OTHER}: in ") and "MACs are the mean of 5 counts, whose standard deviation is" in finding
    assert {done.counts.min(), done.counts.max()} == {FIRST + HEAD, 2 * FIRST + SECOND + HEAD} and contender.folded


class Table(Base):
    """A table of positions that is made in the first call of all, by a product, and kept."""

    def forward(self, x):
        if not hasattr(self, "table"):
            self.table = torch.ones(6, 1) @ torch.ones(1, 6)
        return self.end(self.second(self.begin(x) * self.table))


class LockedTable(Table):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize("make", [Table, LockedTable])
def test_what_is_made_once_and_kept_is_neither_a_finding_nor_counted(make):
    contender, done = timed(make)
    assert findings(contender, done) == [] and set(done.macs) == {WHOLE} and contender.folded


def settling(self):
    """Does more once it was called a hundred times."""
    self.number = getattr(self, "number", 0) + 1
    return torch.tensor(float(self.number > 100))


def test_what_changes_while_it_is_timed_is_found_out():
    contender, done = timed(by_chance(settling))
    assert not any(finding.startswith(("answers", OTHER)) for finding in findings(contender, done))
    assert counted_again(contender, done) is done
    with torch.inference_mode():
        for _ in range(100):
            contender.itself().run(0)
    again = counted_again(contender, done)
    finding = findings(contender, again)[0]
    assert finding.startswith(f"{OTHER}: in {CALLS} of {CALLS} calls") and "2 counts" in finding
    assert sorted({*again.counts.flat}) == [FIRST + HEAD, WHOLE]


@pytest.mark.parametrize(
    ("make", "everything"),
    [
        (network(lambda self, x: F.dropout(self.both(x))), False),
        (network(lambda self, x: self.end(F.dropout2d(self.second(self.begin(x))))), False),
        (by_chance(lambda self: torch.rand(1), computes=False), True),
        (network(lambda self, x: self.end(self.second(self.begin(x)) * F.gumbel_softmax(x.mean((2, 3)), hard=True)[0, 0])), True),
    ],
    ids=["dropout by mistake", "dropout of maps", "masked by chance", "masked by Gumbel noise"],
)
def test_chance_that_changes_no_macs_is_a_finding_too(make, everything):
    contender, done = timed(make)
    finding, *others = findings(contender, done)
    assert finding.startswith("answers differently") and finding.endswith("; 5 counts gave the same MACs for each")
    assert done.macs.tolist() == [WHOLE] * CALLS and done.deviation == 0
    assert len(others) == everything and all(other.startswith(ALL) for other in others)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: (setattr(self, "calls", getattr(self, "calls", 0) + 1), self.both(x))[1],
        lambda self, x: self.end(F.batch_norm(self.first(x), torch.zeros(8), torch.ones(8), training=True)),
        lambda self, x: (torch.rand(3), self.both(x))[1],
    ],
    ids=["a counter that changes nothing", "statistics of the batch", "chance that changes nothing"],
)
def test_what_gives_the_same_answers_is_no_finding(forward):
    assert findings(*timed(network(forward))) == []


def test_random_numbers_go_on_as_before():
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    network = Network("net", RANDOM["torch's numbers"][0](), DATA)
    torch.manual_seed(3)
    Elsewhere(network, [network.batch(np.array([number]), CPU) for number in range(2)])
    assert (torch.rand(1), np.random.rand(), random.random()) == expected


# Layouts

View = type("View", (Base,), {
    "__init__": lambda self: (Base.__init__(self), setattr(self, "head", nn.Linear(8 * 36, 5)))[0],
    "forward": lambda self, x: self.head(self.begin(x).view(x.size(0), -1)),
})  # fmt: skip


def looks_at_strides(self, x):
    return self.both(x) * (2.0 if x.is_contiguous() else 1.0)


def wants_channels_last(self, x):
    if x.is_contiguous():
        raise ValueError("channels_last only")
    return self.both(x)


LAYOUTS = {
    "view of a map": (View, "contiguous"),
    "view of the input": (network(lambda self, x: self.both(x.view(x.size(0), -1).view_as(x))), "contiguous"),
    "answers otherwise": (network(looks_at_strides), "contiguous"),
    "channels_last alone": (network(wants_channels_last), "channels_last"),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_network_runs_in_the_layout_that_it_takes(kind):
    make, layout = LAYOUTS[kind]
    contender, _ = timed(make)
    other = next(each for each in layouts.LAYOUTS if each != layout)
    assert contender.ready.layout == layout and contender.folded
    (note,) = contender.ready.notes
    assert f"net was timed {layout}: in {other} it fails (" in note
    assert timed(make, layout=layout)[0].ready.notes == ()
    with pytest.raises(UsageError, match=rf"net does not run in layout {other} \(.*\). Give --layout {layout}"):
        timed(make, layout=other)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_layout_that_is_named_is_taken(layout):
    contender, _ = timed(Plain, layout=layout)
    last = layout == "channels_last"
    assert contender.ready.layout == layout and contender.ready.notes == () and contender.folded
    assert all(x.is_contiguous(memory_format=torch.channels_last) is last for x in contender.calls)
    assert contender.model.second.weight.is_contiguous() is not last


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ([{"channels_last": 1.0, "contiguous": 2.0}], ["channels_last"]),
        ([{"channels_last": 2.0, "contiguous": 1.0}], ["contiguous"]),
        ([{"channels_last": 1.0, "contiguous": 1.0}], ["channels_last"]),
        ([{"contiguous": 1.0}], ["contiguous"]),
        ([{"channels_last": 1.0, "contiguous": 1.05}, {"contiguous": 1.0}], ["contiguous", "contiguous"]),
        ([{"channels_last": 1.0, "contiguous": 1.05}, {"channels_last": 1.2, "contiguous": 1.0}], ["contiguous", "contiguous"]),
        ([{"channels_last": 1.0, "contiguous": 1.5}, {"channels_last": 1.5, "contiguous": 1.0}], ["channels_last", "contiguous"]),
        ([{"channels_last": 1.0, "contiguous": 2.2}, {"contiguous": 1.0}], ["channels_last", "contiguous"]),
    ],
)
def test_networks_share_a_layout_where_that_costs_little(seconds, chosen):
    assert layouts.choose(seconds) == chosen


def test_how_much_a_layout_costs_is_said(monkeypatch):
    monkeypatch.setattr(layouts, "measured", lambda work, calls, clock: {"channels_last": 1.0, "contiguous": 2.2})
    contender, _ = timed(Plain)
    assert contender.ready.notes == ("net was timed channels_last, 2.2 times as fast as contiguous. --layout contiguous times that.",)


# Copies


class Hooked(Base):
    """Its hook writes to the very object that it was made in."""

    def __init__(self):
        super().__init__()
        self.first.register_forward_hook(lambda module, inputs, result: setattr(self, "seen", result))

    def forward(self, x):
        self.first(x)
        return self.end(self.second(self.norm(self.seen).relu()))


class Closure(Base):
    """A copy of it runs the original's layers."""

    def __init__(self):
        super().__init__()
        self.run = lambda x: self.both(x)

    def forward(self, x):
        return self.run(x)


class Locked(Plain):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Refusing(Plain):
    def __deepcopy__(self, memo):
        raise SystemExit("no copies")


class Shallow(Plain):
    def __deepcopy__(self, memo):
        return self


class Bound(Base):
    def __init__(self):
        super().__init__()
        self.forward = self.both


class NoResult(Plain):
    """An old habit: a train() that forgets to return the network."""

    def train(self, mode=True):
        super().train(mode)


COPIES = {"hook": Hooked, "closure": Closure, "lock": Locked, "refuses": Refusing, "shallow": Shallow}


@pytest.mark.parametrize("kind", [*COPIES, "bound method", "train without a result"])
def test_a_network_that_cannot_be_copied_is_made_again(kind):
    make = (COPIES | {"bound method": Bound, "train without a result": NoResult})[kind]
    contender, done = timed(make)
    original = contender.network.model
    assert contender.folded and contender.model is not original and done.macs.tolist() == [WHOLE] * CALLS
    assert not any("norms" in note for note in contender.ready.notes)
    with torch.inference_mode():
        assert all(same_answers(original(x), contender.model(x)) for x in contender.calls)


@pytest.mark.parametrize("kind", COPIES)
def test_without_a_factory_it_is_timed_as_it_is(kind):
    contender, done = timed(COPIES[kind], again=False)
    assert not contender.folded and contender.model is contender.network.model and done.macs.tolist() == [WHOLE] * CALLS
    assert any("it cannot be copied (by copy.deepcopy: " in note for note in contender.ready.notes)


def test_a_factory_that_makes_another_network_is_no_copy():
    class Fresh(Locked):
        def __init__(self):
            super().__init__()
            self.shift = random.random()  # not among its weights

        def forward(self, x):
            return self.both(x) + self.shift

    contender, _ = timed(Fresh)
    assert not contender.folded and any("by its factory: it answers otherwise" in note for note in contender.ready.notes)


# Answers

GIVES = {
    "text": (lambda self, x: "seven", "it answers with 'seven'"),
    "nothing": (lambda self, x: None, "it answers with None"),
    "number": (lambda self, x: 3, "it answers with 3. Let its forward return the logits as a tensor, or a list or mapping with them."),
    "empty list": (lambda self, x: [], "it answers with a list"),
    "generator": (lambda self, x: (self.both(each) for each in [x]), "return a list"),
    "exits one by one": (lambda self, x: map(self.both, [x]), "return a list"),
}


@pytest.mark.parametrize("kind", GIVES)
def test_an_answer_without_a_tensor_is_described(kind):
    forward, sentence = GIVES[kind]
    with pytest.raises(GatebenchError, match="net gives no tensor of logits: ") as refused:
        timed(network(forward))
    assert sentence in str(refused.value)


PARTS = {
    "an index before the logits": (lambda logits: (torch.tensor([2]), logits), "1"),
    "a mapping of exits": (lambda logits: {"exits": [logits - 1, logits]}, "exits.-1"),
    "a mapping with numbers": (lambda logits: {0: logits - 1, 1: logits}, "1"),
    "nested lists": (lambda logits: [[logits - 1], [logits - 2, logits]], "1.1"),
    "an object": (lambda logits: SimpleNamespace(logits=logits, features=None), "logits"),
    "a dataclass": (lambda logits: Dataclass(logits - 1, logits), "late"),
    "a named tuple": (lambda logits: Named(logits - 1, logits), "late"),
    "the last of a tuple": (lambda logits: (logits - 1, logits), "-1"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_the_part_of_an_answer_that_counts_can_be_named(kind):
    form, path = PARTS[kind]
    logits = torch.arange(5.0)[None]
    assert torch.equal(answers.pick(form(logits), path), logits)
    contender, _ = timed(network(lambda self, x: form(self.both(x))), layout="contiguous")
    (note,) = contender.ready.notes
    assert f"net answers with {answers.describe(form(logits))}; all of it counts" in note and "--output" in note
    assert timed(network(lambda self, x: form(self.both(x))), path, "contiguous")[0].ready.notes == ()


@pytest.mark.parametrize(
    ("form", "words", "path"),
    [
        (lambda logits: (logits, [logits[0, 0]] * 17), "a tuple of 2 (a tensor of 1x5, a list of 17 (each a tensor of one number))", "0"),
        (lambda logits: [logits] * 7, "a list of 7 (each a tensor of 1x5)", "6"),
        (lambda logits: {"features": torch.zeros(1, 8), "logits": logits, "mask": logits > 0, "map": logits[..., None]}, "", "logits"),
        (lambda logits: (logits[0], logits[0, 0]), "", "1"),
        (lambda logits: (logits, np.int64(3), np.bool_(True)), "a tuple of 3 (a tensor of 1x5, 3, True)", "0"),
        (lambda logits: (torch.cat([logits, logits], 1), [logits[0, 0]]), "", "0"),
    ],
    ids=["gates", "exits", "mapping", "no batch", "an index of NumPy", "other classes"],
)
def test_the_part_that_looks_like_logits_is_proposed(form, words, path):
    contender, _ = timed(network(lambda self, x: form(self.both(x))), layout="contiguous")
    note = contender.ready.notes[0]
    assert note.startswith(f"net answers with {words}") and note.endswith(f"such as --output {path}.")


@pytest.mark.parametrize(
    ("form", "output", "said"),
    [
        (lambda logits: torch.cat([logits, logits[:, :2]], 1), None, "net answers with 7 numbers, noise has 5 classes. Its factory"),
        (lambda logits: [logits[:, :3]] * 3, None, "net answers with 3 numbers, noise has 5 classes."),
        (lambda logits: [logits, logits[:, :1]], "1", "net answers with 1 number, noise has 5 classes."),
        (lambda logits: [logits, logits[:, :1]], "0", ""),
        (lambda logits: [logits, logits[:, :1]], None, ""),
        (lambda logits: logits.argmax(1), None, ""),
        (lambda logits: torch.stack([logits[:, :3], logits[:, :3]]), None, ""),
    ],
    ids=["seven", "exits", "one", "the right part", "beside gates", "a class", "stacked"],
)
def test_another_number_of_classes_than_the_data_s_is_said(form, output, said):
    contender, _ = timed(network(lambda self, x: form(self.both(x))), output, "contiguous")
    notes = [note for note in contender.ready.notes if "all of it counts" not in note]
    assert len(notes) == bool(said) and all(note.startswith(said) for note in notes)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("2", "there is no '2' in a mapping of 2 (exits: a list of 2 (a tensor of 1x5, a tensor of 1x5), index: 1)."),
        ("exits.2", "there is no '2' in a list of 2 (a tensor of 1x5, a tensor of 1x5). The answer is a mapping"),
        ("exits.-3", "there is no '-1' in a list"),
        ("exits.0.0", "there is no '0' in a tensor of 1x5."),
        ("exits.last", "there is no 'last' in a list"),
        ("", "there is no '' in a mapping"),
        ("_private", "there is no '_private' in a mapping"),
        ("exit.0", "there is no 'exit' in a mapping of 2 (exits: a list of 2 (a tensor of 1x5, a tensor of 1x5), index: 1). Did you mean"),
    ],
)
def test_a_part_that_is_not_there_is_said_with_what_is(path, sentence):
    make = network(lambda self, x: {"exits": [self.both(x), self.both(x)], "index": 1})
    with pytest.raises(UsageError) as refused:
        timed(make, path)
    assert str(refused.value).startswith(f"--output {path}: {sentence}")


def test_nan_counts_in_the_part_that_counts():
    make = network(lambda self, x: (self.both(x), self.both(x) * np.nan))
    assert timed(make, "0")[0].folded
    with pytest.raises(GatebenchError, match="net answers with NaN"):
        timed(make)


def fails(self, x):
    raise AssertionError


def no_driver(self, x):
    raise RuntimeError("Found no NVIDIA driver on your system.")


def no_threshold(self, x, *, threshold):
    return x


OTHER_SIZE = r".*Is it made for images of another size\? Put nn.Upsample before it in its factory, or name such images with --dataset.$"
HERE = r"test_foreign_networks.py, line \d+\)"
FAILURES = {
    "assertion without text": (fails, r"take one 3x12x12 input of noise \(AssertionError in \w+.py, line \d+: raise AssertionError\)"),
    "further arguments": (lambda self, x, threshold: x, "'threshold'\\). Let its factory give the other arguments"),
    "exit": (lambda self, x: exit(3), rf"\(SystemExit: 3; {HERE}"),
    "no such key": (lambda self, x: {}["cache"], rf"\(KeyError: 'cache'; {HERE}"),
    "calls itself": (lambda self, x: self(x), rf"\(RecursionError: maximum recursion depth .*; {HERE}"),
    "an error of torch": (lambda self, x: F.conv2d(x, self.head.weight), rf"\(RuntimeError: .*; {HERE}"),
    "an error of Python's library": (lambda self, x: json.loads("x"), rf"\(JSONDecodeError: .*; {HERE}"),
    "keywords": (no_threshold, "'threshold'\\). Let its factory give the other arguments, as docs/networks.md shows"),
    "wrong channels": (lambda self, x: self.first(x[:, :1]), "RuntimeError: Given groups=1"),
    "wrong type": (lambda self, x: self.first(x.double()), "RuntimeError: .*double"),
    "half precision": (
        lambda self, x: self.half().both(x),
        "Images are float32, its weights float16: let its factory return network.float",
    ),
    "bfloat16": (lambda self, x: self.bfloat16().first(x), "its weights bfloat16: let its factory return network.float()."),
    "double precision": (lambda self, x: self.double().first(x), "its weights float64: let its factory return network.float()."),
    "no values": (lambda self, x: self.to("meta").both(x), "Its weights are on the meta device, without values: let its factory load"),
    "one channel": (
        lambda self, x: F.conv2d(x, self.first.weight[:, :1]),
        r"It takes 1 channel, the images have 3: name others with --dataset, or begin its forward with x = x.mean\(1, keepdim=True\).$",
    ),
    "six channels": (
        lambda self, x: F.conv2d(x, self.first.weight.repeat(1, 2, 1, 1)),
        "It takes 6 channels, the images have 3: name others with --dataset.$",
    ),
    "larger images": (lambda self, x: F.linear(self.begin(x).flatten(1), self.head.weight), f"1x288 and 8x5{OTHER_SIZE}"),
    "a larger kernel": (lambda self, x: self.both(F.conv2d(x, torch.ones(3, 3, 20, 20))), f"Kernel size can't .*{OTHER_SIZE}"),
    "a table of places": (lambda self, x: self.both(x + torch.ones(1, 3, 14, 14)), f"must match the size .*{OTHER_SIZE}"),
    "a fixed view": (lambda self, x: self.end(self.begin(x).view(1, 8, 7, 7)), f"is invalid for input of size 288.*{OTHER_SIZE}"),
    "too often halved": (lambda self, x: self.end(F.avg_pool2d(x, 16)), f"[oO]utput size is too small.*{OTHER_SIZE}"),
    "own gradient": (lambda self, x: torch.autograd.grad(self.both(x).sum(), x), "RuntimeError: "),
    "writes": (lambda self, x: self.both(x.mul_(2)), "net writes to its input"),
    "only in batches": (lambda self, x: self.both(x) if len(x) > 1 else fails(self, x), "AssertionError in .*two at once: give --"),
    "squeezed": (lambda self, x: self.both(x).squeeze().softmax(-1)[:, 1], r"dimension 1; \w+.py, line \d+\). It takes two at once: give"),
    "CUDA": (no_driver, r"\(RuntimeError: Found no NVIDIA driver on your system; \w+.py, line \d+\). Its code asks for CUDA"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_network_that_fails_says_why(kind):
    forward, sentence = FAILURES[kind]
    with pytest.raises(UsageError, match=sentence):
        timed(network(forward))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: Plain().half(), "its weights float16: let its factory return network.float()."),
        (lambda: Plain().to("meta"), "Its weights are on the meta device, without values: let its factory load them."),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3)), "It takes 1 channel, the images have 3: name others with --dataset, or"),
    ],
    ids=["half precision", "meta", "one channel"],
)
def test_a_network_made_for_other_inputs_is_refused_with_what_helps(made, sentence):
    with pytest.raises(UsageError, match="^net does not take one 3x12x12 input of noise ") as refused:
        timed(made)
    assert sentence in str(refused.value)


def test_too_little_memory_is_not_the_input_s_fault():
    def greedy(self, x):
        raise MemoryError

    with pytest.raises(MemoryError):
        timed(network(greedy))


def test_what_fails_on_one_input_may_run_on_several():
    contender, done = timed(network(FAILURES["only in batches"][0]), batch=2)
    assert contender.folded and done.macs.tolist() == [WHOLE] * CALLS


# Work that torch does not see


def in_numpy(self, x):
    return torch.from_numpy(self.first(x).relu().mean((2, 3)).numpy() @ np.ones((8, 5), np.float32))


def in_a_pool(self, x):
    self.pool = getattr(self, "pool", None) or ThreadPoolExecutor(2)
    first, second = self.pool.map(self.end, [self.begin(x), self.second(self.begin(x))])
    return first + second


def in_a_thread(self, x):
    answers = []
    worker = threading.Thread(target=lambda: answers.append(self.both(x).detach()))
    worker.start()
    worker.join()
    return answers[0].clone()


def test_what_numpy_computes_is_said():
    contender, done = timed(network(in_numpy))
    (finding,) = findings(contender, done)
    assert finding == "hands tensors to NumPy: what is computed there takes its time, and is not among its MACs"
    assert set(done.macs) == {FIRST} and np.asarray(torch.ones(2)).sum() == 2 and "numpy" not in vars(torch.Tensor)


def test_a_decision_by_way_of_numpy_is_no_finding():
    contender, done = timed(network(lambda self, x: self.end(self.begin(x)) if np.asarray(x.mean()) < 0 else self.both(x)))
    assert findings(contender, done) == [] and set(done.macs) == {FIRST + HEAD, WHOLE}


@pytest.mark.parametrize("forward", [in_a_pool, in_a_thread])
def test_what_other_threads_compute_is_named_and_nothing_is_counted(forward):
    contender, done = timed(network(forward))
    assert "work of other threads" in contender.uncounted and not done.counted
    assert not any("same input" in finding for finding in findings(contender, done))


# What cannot be watched


def only_unwatched(self, x):
    if _get_current_dispatch_mode():
        raise RuntimeError("not under a mode")
    return self.both(x)


def test_what_fails_only_when_it_is_watched_is_timed_and_said():
    contender, done = timed(network(only_unwatched))
    assert contender.model is contender.network.model and not contender.folded and contender.ready.layout == "contiguous"
    assert not done.counted and contender.uncounted == ("RuntimeError when counted",) and findings(contender, done) == []
    (note,) = contender.ready.notes
    assert note.startswith("net fails when its operations are watched (RuntimeError: not under a mode): it was timed as it is")


class Compiled(Plain):
    """A graph that must be compiled whole, which torch refuses to do where operations are watched."""

    def __init__(self):
        super().__init__()
        self.run = torch.compile(self.both, fullgraph=True, backend="eager")

    def forward(self, x):
        return self.run(x)


class Flexible(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.qkv, self.head = nn.Conv2d(3, 8, 3, 3), nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, x):
        q, k, v = self.qkv(self.first(x).flatten(2).mT).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return self.head(flex_attention(q, k, v).transpose(1, 2).flatten(2).mean(1))


Conditional = network(lambda self, x: torch.cond(dark(x), lambda x: self.end(self.begin(x)), lambda x: self.both(x), (x,)))
ATTENDED = 16 * 27 * 8 + 16 * 8 * 24 + 2 * 16 * 16 * 8 + 8 * 5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.skipif(not torch._dynamo.is_dynamo_supported(), reason="this Python has no torch.compile")
@pytest.mark.parametrize(
    ("make", "counts", "folded"),
    [(Compiled, {WHOLE}, True), (Flexible, {ATTENDED}, True), (Conditional, {FIRST + HEAD, WHOLE}, True)],
    ids=["compiled whole", "flex_attention", "torch.cond"],
)
def test_what_torch_compiles_is_counted_as_it_was_written(make, counts, folded):
    contender, done = timed(make)
    assert set(done.macs) == counts and contender.uncounted == () and contender.folded is folded
    assert not any("watched" in note for note in contender.ready.notes) and findings(contender, done) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
def test_a_network_of_transformers(attention):
    transformers = pytest.importorskip("transformers", reason="pip install 'gatebench[test-transformers]' for this test")

    def make(side=12):
        sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
        config = transformers.ViTConfig(image_size=side, patch_size=4, num_labels=5, attn_implementation=attention, **sizes)
        return transformers.ViTForImageClassification(config)

    def hand(patches):
        tokens = patches + 1
        return 4 * (tokens * 128 * (4 * 128 + 2 * 256) + 2 * tokens**2 * 128) + patches * 48 * 128 + 128 * 5

    with torch.inference_mode():
        assert count(make(32).eval(), torch.rand(1, 3, 32, 32)).certain == hand(64) == 38_799_616 - 128 * 5
    contender, done = timed(make, "logits")
    assert set(done.macs) == {hand(9)} and contender.uncounted == () and findings(contender, done) == []


# What is executed


def dark(x):
    return x.mean() < 0


def gate(x, *shape):
    """A decision for the image, as a number."""
    return dark(x).float().reshape(1, *shape)


def kept(self, x, places):
    """A linear layer on some places [N, K] of x."""
    tokens = x.flatten(2).gather(2, places[:, None].expand(-1, 3, -1))
    return F.linear(tokens.transpose(1, 2), self.head.weight[:, :3]).mean(1)


ALL, SHARED = "computes everything, or a fixed share: its decisions differ", "computes the same for every input: it reads values"
EXECUTES = {
    "static": (lambda self, x: self.both(x), {WHOLE}, None),
    "early exit": (lambda self, x: self.end(self.begin(x)) if dark(x) else self.both(x), {FIRST + HEAD, WHOLE}, None),
    "branch on a list": (lambda self, x: self.both(x) if dark(x).tolist() else self.end(self.begin(x)), {FIRST + HEAD, WHOLE}, None),
    "rows by a mask": (lambda self, x: self.end(self.second(self.begin(x[dark(x)[None]]))), {0, WHOLE}, None),
    "gate that multiplies": (lambda self, x: self.end(self.second(self.begin(x)) * gate(x, 1, 1, 1)), {WHOLE}, ALL),
    "one-hot gate": (lambda self, x: self.end(self.second(self.begin(x)) * F.one_hot(dark(x).long(), 2).float()[0]), {WHOLE}, ALL),
    "gate by rounding": (lambda self, x: self.both(x * torch.sigmoid(9 * x.mean((1, 2, 3), keepdim=True)).round()), {WHOLE}, ALL),
    "gates of channels": (lambda self, x: self.both(x * (x.mean((2, 3), keepdim=True) > 0)), {WHOLE}, ALL),
    "map of places": (lambda self, x: self.both(x * (x.mean(1, keepdim=True) > 0)), {WHOLE}, ALL),
    "tokens that are kept": (lambda self, x: self.kept(x, x.mean(1).flatten(1).topk(72).indices), {72 * 3 * 5}, ALL),
    "tokens in order": (lambda self, x: self.kept(x, x.mean(1).flatten(1).argsort(descending=True)[:, :72]), {72 * 3 * 5}, ALL),
    "classes in order": (lambda self, x: self.both(x).sort().indices, {WHOLE}, None),
    "policy in place": (lambda self, x: self.both(x * torch.full((1, 2), x.mean()).clamp_(0, 1).ceil_()[0, 0]), {WHOLE}, ALL),
    "threshold never reached": (lambda self, x: self.end(self.begin(x)) if x.mean() > 9 else self.both(x), {WHOLE}, SHARED),
    "rows that are all there": (lambda self, x: self.both(x[x.mean((1, 2, 3)) > -9]), {WHOLE}, SHARED),
    "the answer is a class": (lambda self, x: self.both(x).argmax(1), {WHOLE}, None),
    "the answer is a comparison": (lambda self, x: self.both(x) > 0, {WHOLE}, None),
    "activation of comparisons": (lambda self, x: self.end(torch.where(self.first(x) > 0, 1.0, 0.1)), {FIRST + HEAD}, None),
    "constant mask": (lambda self, x: self.both(x * torch.ones(1, 3, 1, 1)), {WHOLE}, None),
    "squeeze and excitation": (lambda self, x: self.both(x * F.hardsigmoid(x.mean((2, 3), keepdim=True))), {WHOLE}, None),
}


@pytest.mark.parametrize("kind", EXECUTES)
def test_what_is_executed_and_whether_that_depends_on_the_input(kind):
    forward, counts, finding = EXECUTES[kind]
    contender, done = timed(network(forward, kept=kept))
    assert set(done.macs) == counts and done.constant is (len(counts) == 1)
    found = findings(contender, done)
    assert len(found) == (finding is not None) and all(each.startswith(finding) for each in found)


NOTHING = "computes the same for every input: each input executes the same "
BRANCH = "takes the same branch for every input: it reads values of tensors, as for a branch, yet each input executes the same "
AGAINST = {
    "a gate that is always 0": (lambda self, x: self.end(self.second(self.begin(x)) * (x.mean() > 100).float()), WHOLE, NOTHING),
    "a soft gate": (lambda self, x: self.end(self.second(self.begin(x)) * x.mean().sigmoid()), WHOLE, NOTHING),
    "a gate with MACs": (lambda self, x: self.end(self.second(self.begin(x)) * (9 * x @ x).mean().sigmoid()), WHOLE, NOTHING),
    "a head of fewer classes": (lambda self, x: self.both(x), WHOLE + 8, NOTHING),
    "zeroed where": (lambda self, x: self.end(zeroed(self.second(self.begin(x)))), WHOLE, NOTHING),
    "a branch never taken": (EXECUTES["threshold never reached"][0], WHOLE, SHARED),
    "a branch always taken": (lambda self, x: self.end(self.begin(x)) if x.mean() < 9 else self.both(x), WHOLE, BRANCH),
    "less of everything": (lambda self, x: self.end(self.begin(x)), WHOLE, None),
    "much more": (lambda self, x: self.both(x), WHOLE / 2, None),
    "a rival that is not counted": (lambda self, x: self.both(x), np.nan, None),
    "an early exit": (EXECUTES["early exit"][0], WHOLE, None),
    "by chance": (by_chance(lambda self: torch.rand(1), computes=False).forward, WHOLE, "answers differently"),
}


def zeroed(x):
    x = x.clone()
    x[x < 100] = 0
    return x


@pytest.mark.parametrize("kind", AGAINST)
def test_beside_a_rival_it_is_said_where_nothing_is_left_out(kind):
    forward, macs, finding = AGAINST[kind]
    contender, done = timed(network(forward))
    found = findings(contender, done, Rival("whole", np.ones((5, CALLS)), np.full(CALLS, float(macs))))
    assert bool(found) == bool(finding) and all(each.startswith((finding, ALL)) for each in found)
    if finding == NOTHING:
        how_many = "more than" if kind == "a gate with MACs" else "as many as"
        assert found[0].endswith(f" MACs, {how_many} whole, so nothing is left out") and findings(contender, done) == []


class Gated(GatedModel):
    """One block, on for light images, which its sparse execution leaves out or not."""

    input_shape, units, macs_static = (3, 12, 12), (Unit("block", "block", 1, SECOND, 0),), WHOLE

    def __init__(self, leaves_out, threshold=0.0):
        super().__init__()
        self.net, self.leaves_out, self.threshold = Base(), leaves_out, threshold

    def _infer(self, x, execution, decisions, policy):
        gates = x.mean((1, 2, 3))[:, None].sigmoid()
        on = x.mean((1, 2, 3))[:, None] > self.threshold if decisions is None else decisions
        logits = self.net.end(self.net.begin(x) + on[:, :, None, None] * self.net.second(self.net.begin(x)))
        count = self.counting(on) if self.leaves_out and execution == "sparse" else self.counting_all(len(x))
        return Output(logits, gates, on, count=count)


@pytest.mark.parametrize(
    ("make", "counts", "finding"),
    [
        (lambda: Gated(True), {FIRST + HEAD, WHOLE}, None),
        (lambda: Gated(False), {WHOLE}, ALL),
        (lambda: Gated(True, 9.0), {FIRST + HEAD}, "computes the same for every input: they all get the same decisions"),
    ],
    ids=["leaves out", "computes everything", "decides the same"],
)
def test_a_gated_network_that_saves_nothing_is_named(make, counts, finding):
    contender = Contender(Network("net", make(), DATA), np.arange(CALLS)[:, None], CPU, np.random.default_rng(0))
    done = executed(contender)
    found = findings(contender, done)
    assert set(done.macs) == counts and len(found) == (finding is not None) and all(each.startswith(finding) for each in found)


def test_a_gated_network_that_decides_by_chance_is_found_out():
    class Chance(Gated):
        def _infer(self, x, execution, decisions, policy):
            on = torch.rand(len(x), 1) > 0.5 if decisions is None else decisions
            return super()._infer(x, execution, on, policy)

    torch.manual_seed(0)
    contender = Contender(Network("net", Chance(True), DATA), np.arange(CALLS)[:, None], CPU, np.random.default_rng(0))
    done = executed(contender)
    assert findings(contender, done)[0].startswith("answers differently to the same input") and done.deviation > 0
    assert FIRST + HEAD < done.macs.mean() < WHOLE


def test_the_table_says_what_is_executed_and_whether_it_varies():
    row = {"network": "net", "execution": "itself", "machine": "m", "device": "cpu", "runtime": "torch", "threads": 1, "batch_size": 1,
           "calls": 8, "rounds": 5, "noisy_rounds": 0, "latency_ms": 1.0, "layout": "contiguous", "timed_macs_executed": 2e6}  # fmt: skip
    varying = row | {"timed_macs_least": 1e6, "timed_macs_most": 3e6}
    same = row | {"timed_macs_least": 2e6, "timed_macs_most": 2e6, "timed_audit": ["computes everything: all of it"]}
    (sheet,) = sheets([varying, same])
    texts = [dict(zip([heading.shown for heading in sheet.headings], line, strict=True)) for line in sheet.texts]
    assert [line["executed (M MACs)"] for line in texts] == ["2.000", "2.000"]
    assert [line["least to most (M MACs)"] for line in texts] == ["1.000 to 3.000", "the same"]
    assert [line["layout"] for line in texts] == ["contiguous"] * 2 and sheet.note == "net: computes everything: all of it."


# From the command line

FILE = """
import argparse, os, subprocess, sys
import torch
from torch import nn

print("chatter at import")
options = argparse.ArgumentParser().parse_args()  # of a script; the command line is not its own
torch.set_default_dtype(torch.float32)
os.chdir("/")
sys.stdout.write("half a line")

class Loud(nn.Module):
    def __init__(self, classes, threshold=0.0):
        super().__init__()
        print("chatter when built")
        os.write(1, b"chatter below Python\\n")
        subprocess.run([sys.executable, "-c", "print('chatter of a child')"])
        self.threshold = threshold
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 1, 1)
        self.early, self.late = nn.Linear(8, classes), nn.Linear(8, classes)
    def forward(self, x, threshold=None):
        print("chatter when run")
        early = self.norm(self.first(x)).relu()
        exits = [self.early(early.mean((2, 3)))]
        if x.mean() > (self.threshold if threshold is None else threshold):
            exits.append(self.late(self.second(early).mean((2, 3))))
        return {"exits": exits}

def build(classes):
    torch.manual_seed(0)
    return Loud(classes)

seen = []

class Bound(nn.Module):
    def __init__(self, network, **arguments):
        super().__init__()
        self.network, self.arguments = network, arguments
    def forward(self, x):
        return self.network(x, **self.arguments)

def full(classes):
    return Bound(build(classes), threshold=-9.0)

class Viewing(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(400, classes)
    def forward(self, x):
        return self.head(self.body(x).view(x.size(0), -1))

def late(classes):
    class Late(Viewing):
        def forward(self, x):
            seen.append(x)
            if len(seen) > 75:
                raise KeyError("cache")
            return super().forward(x)
    return Late(classes)

def silent(classes):
    assert classes > 1000

def no_item(classes):
    return [][classes]

def leaves(classes):
    sys.exit("no licence")

def deep(classes):
    return deep(classes)

def number(classes):
    return 7

def forgets(classes):
    build(classes)

def wide(classes, width):
    return Loud(classes)

def nothing():
    return Loud(10)
"""


def at(code):
    """Where that stands in the file."""
    return f"loud.py, line {FILE[: FILE.index(code)].count(chr(10)) + 1}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file with networks, and images for them."""
    home = tmp_path_factory.mktemp("foreign")
    (home / "loud.py").write_text(FILE)
    images = {f"{part}_{kind}": value for part in ("train", "test") for kind, value in (
        ("images", DATA.test.pixels), ("labels", DATA.test.labels))}  # fmt: skip
    np.savez(home / "noise.npz", **images)
    return home


def profile(*arguments):
    quick = ["--inputs", "8", "--repeats", "5", "--max-seconds", "1", "--threads", "1"]
    return CliRunner().invoke(app, ["profile-latency", *map(str, arguments), *quick], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_what_foreign_code_prints_leaves_the_json_clean(files, capfd):
    here = os.getcwd()
    done = profile(files / "loud.py", "--vs", f"{files}/loud.py:full", "--dataset", files / "noise.npz", "--json")
    assert done.exit_code in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    stage, rest = FIRST + HEAD, SECOND + HEAD
    assert row["timed_macs_least"] == stage and row["timed_macs_most"] == stage + rest
    light = CALLS * (row["timed_macs_executed"] - stage) / rest
    assert light in range(1, CALLS) and row["layout"] in layouts.LAYOUTS
    assert row["timed_saving_pct"] == pytest.approx(100 * (1 - light / CALLS) * rest / (stage + rest))
    assert "timed_audit" not in row and "timed_macs_sd" not in row and row["batch_norm_folded"]
    assert all(f"chatter {when}" in done.stderr for when in ("at import", "when built", "when run"))
    assert "loud answers with a mapping of 1 (exits: a list of " in " ".join(done.stderr.split())
    written = capfd.readouterr()
    assert written.out == "" and "chatter below Python" in written.err and "chatter of a child" in written.err
    assert os.getcwd() == here and torch.get_default_dtype() == torch.float32


def test_prints_go_on_where_they_went(capfd):
    with output_to_stderr():
        print("inside")
        os.write(1, b"inside too\n")
    print("outside")
    written = capfd.readouterr()
    assert written.out == "outside\n" and "inside\n" in written.err and "inside too\n" in written.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["loud.py", "--output", "exits.5"], 2, "--output exits.5: there is no '5' in a list of"),
        (["loud.py", "--layout", "nhwc"], 2, "--layout wants auto, channels_last or contiguous, not 'nhwc'"),
        (["loud.py:Viewing", "--output", "0"], 2, "--output 0 is a part of an answer, but every network here answers with one tensor"),
        (["loud.py:Viewing", "--layout", "channels_last"], 2, "loud:Viewing does not run in layout channels_last (RuntimeError: view"),
        (["loud.py:late"], 1, f"loud:late failed while it was timed (KeyError: 'cache'; {at('raise KeyError')})."),
        (["loud.py:silent"], 1, f"loud.py:silent(5) raised AssertionError: {at('assert classes')}: assert classes > 1000."),
        (["loud.py:no_item"], 1, f"loud.py:no_item(5) raised IndexError: list index out of range; {at('return [][')}."),
        (["loud.py:leaves"], 1, f"loud.py:leaves(5) raised SystemExit: no licence; {at('sys.exit')}."),
        (["loud.py:deep"], 1, f"loud.py:deep(5) raised RecursionError: maximum recursion depth exceeded; {at('return deep')}."),
        (["loud.py:number"], 1, "loud.py:number(5) gave an int. Let it return the network, a torch.nn.Module."),
        (["loud.py:forgets"], 1, "loud.py:forgets(5) gave nothing: is a return missing? Let it return the network, a torch.nn.Module."),
        (["loud.py:wide"], 1, f"argument: 'width'. {RULE}"),
        (["loud.py:nothing"], 1, f"nothing() takes 0 positional arguments but 1 was given. {RULE}"),
        (["timm:resnet1"], 2, "timm has no network named 'resnet1'. Did you mean 'resnet18'? python -c \"import timm as m; print(*m.l"),
        (["torchvision:resnet19"], 2, "torchvision has no network named 'resnet19'. Did you mean"),
        (["timm:"], 2, "timm has no network named ''"),
        (["torchvision:raft_small"], 1, "torchvision:raft_small cannot be built for these images and classes (TypeError"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_sentence(files, arguments, code, sentence):
    first, *others = arguments
    named = f"{files}/{first}" if first.startswith("loud") else first
    done = profile(named, *others, "--dataset", files / "noise.npz")
    said = " ".join(done.stderr.split())
    assert done.exit_code == code and sentence in said and "unexpectedly" not in said and "Traceback" not in said, done.stderr


def test_what_is_not_there_is_said_before_data_are_asked_for(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    (files / "broken.py").write_text("def build(classes)\n    return None\n")
    torch.save({}, files / "weights.pt")
    for arguments, sentence in (
        (["lound.py"], "There is no file lound.py. Did you mean 'loud.py'?"),
        (["loud.py", "--weights", "weigths.pt", "--dataset", "noise.npz"], "no weights at weigths.pt. Did you mean 'weights.pt'?"),
        (["loud.py", "--weights", "a.pth", "--dataset", "noise.npz"], "There are no weights at a.pth. Name a file of weights."),
        (["loud.py", "--dataset", "noize.npz"], "There is no folder or .npz file at noize.npz. Did you mean 'noise.npz'?"),
        (["loud.py", "--dataset", "noise"], "No data set is named 'noise'. Did you mean 'noise.npz'?"),
        (["broken.py", "--dataset", "noise.npz"], "SyntaxError when it was imported: expected ':' (broken.py, line 1)."),
    ):
        done = profile(*arguments)
        said = " ".join(done.stderr.split())
        assert done.exit_code in (1, 2) and sentence in said and "--debug" not in said, said


def test_weights_are_for_one_network_and_that_is_said(files, tmp_path):
    torch.save(maker(files / "loud.py", "build", 5)().state_dict(), tmp_path / "net.pt")
    done = profile(files / "loud.py", "--vs", f"{files}/loud.py:build", "--weights", tmp_path / "net.pt", "--dataset", files / "noise.npz")
    said = " ".join(done.stderr.split())
    assert f"--weights {tmp_path}/net.pt went into loud alone; loud has those that it was made with. Its factory may load others." in said


@pytest.mark.parametrize(
    ("seconds", "calls", "batch", "said"),
    [
        (0.1, 128, 1, ""),
        (48.0, 128, 1, "5 rounds of 128 inputs, the fewest that are timed, take about 4 minutes, more than --max-seconds 20; --inputs 10 "),
        (6.0, 64, 4, "5 rounds of 256 inputs, the fewest that are timed, take about 30 seconds, more than --max-seconds 20; --inputs 168 "),
        (48.0, 8, 1, "take about 4 minutes, more than --max-seconds 20."),
    ],
)
def test_that_it_takes_longer_than_allowed_is_said_after_the_first_round(seconds, calls, batch, said):
    sentence = too_long(Plan(CPU, 1, batch, ("sparse",), 128, 30, 20.0), calls, seconds)
    assert said in sentence and bool(said) == bool(sentence) and ("--inputs" in said) == ("--inputs" in sentence)


def test_a_layout_of_its_own_and_a_part_of_the_answer(files):
    done = profile(f"{files}/loud.py:Viewing", "--dataset", files / "noise.npz")
    assert done.exit_code == 0 and "contiguous" in done.stdout and "the same" in done.stdout
    assert "loud:Viewing was timed contiguous: in channels_last it fails (RuntimeError: view size is not" in " ".join(done.stderr.split())
    done = profile(f"{files}/loud.py", "--dataset", files / "noise.npz", "--output", "exits.0", "--layout", "contiguous", "--json")
    assert json.loads(done.stdout)[0]["layout"] == "contiguous" and "answers with" not in done.stderr


def test_networks_of_libraries_run_straight_from_the_command_line(files):
    """Without data on images of their own size, and with their own number of classes."""
    done = profile("timm:test_vit", "--json")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["network"] == "timm:test_vit" and row["dataset"] == "shapes" and "timed_audit" not in row
    layer = 101 * 64 * (4 * 64 + 2 * 192) + 2 * 101 * 101 * 64  # projections, two linear layers, attention
    assert row["timed_macs_executed"] == 100 * 768 * 64 + 6 * layer + 64 * 1000
    assert "timm:test_vit: 64x64 images of shapes were scaled to 160x160, before they were timed. --dataset names others." in done.stderr

    images = {f"{part}_{kind}": value for part in ("train", "test") for kind, value in (
        ("images", np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)), ("labels", np.arange(16) % 4))}  # fmt: skip
    np.savez(files / "larger.npz", **images)
    done = profile("torchvision:squeezenet1_1", "--vs", "timm:test_vit3", "--dataset", files / "larger.npz", "--json")
    (row,) = json.loads(done.stdout)
    assert row["rival"] == "timm:test_vit3" and row["dataset"] == "larger" and row["timed_saving_pct"] > 0
    assert "timm:test_vit3: 32x32 images of larger were scaled to 160x160" in done.stderr and "squeezenet1_1: 32x32" not in done.stderr


THEIRS = """
from torch import nn

class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.heads = nn.Conv2d(3, 16, 3, 2, 1), nn.ModuleList([nn.Linear(16, classes), nn.Linear(16, classes)])
    def forward(self, x, threshold):
        x = self.first(x).relu().mean((2, 3))
        return {"exits": [head(x) for head in self.heads[: 2 if threshold == 1 else 1]]}
"""


def test_the_networks_of_the_page_are_timed(files, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text()
    net, bound = re.findall(r"```python\n(.*?)```", page, re.S)
    for name, code in {"net": net.replace("0.8", "0.2"), "bound": bound, "theirs": THEIRS}.items():
        (tmp_path / f"{name}.py").write_text(code)
    torch.manual_seed(0)
    torch.save(maker(tmp_path / "net.py", "build", 5)().state_dict(), tmp_path / "net.pt")
    names = [f"{tmp_path}/{name}" for name in ("bound.py", "bound.py:whole")]
    done = profile("--model-file", tmp_path / "net.py", "--weights", tmp_path / "net.pt", "--dataset", files / "noise.npz", "--json")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    early, whole = 16 * 27 * 36 + 16 * 5, 16 * 27 * 36 + 16 * 5 + 64 * 144 * 36 + 64 * 5
    assert {row["timed_macs_least"], row["timed_macs_most"]} <= {early, whole}
    done = profile(*names, "--dataset", files / "noise.npz", "--output", "exits.-1", "--json")
    assert [row["timed_macs_executed"] for row in json.loads(done.stdout)] == [early, early + 16 * 5]


def test_who_shares_a_command_with_a_library_still_needs_data(files):
    for arguments in (["timm:test_vit", f"{files}/loud.py"], ["timm:test_vit", "--vs", f"{files}/loud.py"]):
        done = profile(*arguments)
        assert done.exit_code == 2 and "Say with --dataset on which inputs" in done.stderr


def test_a_file_makes_its_network_as_often_as_it_is_wanted(tmp_path):
    (tmp_path / "twice.py").write_text("from torch import nn\nmade = []\ndef build(n):\n    made.append(n)\n    return nn.Linear(3, n)\n")
    make = maker(tmp_path / "twice.py", "build", 7)
    assert make().out_features == make().out_features == 7 and make() is not make()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("torchvision:mobilenet_v3_small", "MobileNet_V3_Small_Weights"),
        ("torchvision:swin_t", "Swin_T_Weights"),
        ("torchvision:lraspp_mobilenet_v3_large", None),
        ("torchvision:ssdlite320_mobilenet_v3_large", None),
        ("timm:mobilevit_xxs", None),
        ("timm:deit_tiny_patch16_224", None),
        ("timm:convit_tiny", None),
    ],
)
def test_large_networks_of_libraries_run_too(name, weights):
    """Of some, the library says how many billions of MACs they have."""
    from torchvision import models

    done = profile(name, "--json")
    assert done.exit_code in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    assert row["timed_macs_executed"] > 0 and "uncounted" not in row
    if weights:
        assert row["timed_macs_executed"] / 1e9 == pytest.approx(getattr(models, weights).DEFAULT.meta["_ops"], abs=2e-3)
