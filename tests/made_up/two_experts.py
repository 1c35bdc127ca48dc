"""A router: a gater sends each image to one of two experts, which differ in cost and in the size of the image that they look at."""

from functools import partial

import torch
from torch import nn
from torch.nn.functional import one_hot

from gatebench.contract import GatedModel, Output, Probe, Unit
from gatebench.losses import Loss
from gatebench.measure.macs import count_macs, count_params
from gatebench.models.registry import register


class ExpectedCost(Loss):
    kind = "expected_cost"
    weight: float

    def bind(self, model, parents):
        return lambda output, batch, clock: self.weight * model.unit_macs(output.gates).sum(1).mean() / model.macs_static


def expert(channels, size, width, classes):
    layers = nn.AdaptiveAvgPool2d(size), nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(width, classes))


@register("two-experts", losses=(ExpectedCost,))
class TwoExperts(GatedModel):
    macs_outside = 0

    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.input_shape, (channels, height, _) = input_shape, input_shape
        self.gater = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, 2))
        self.experts = nn.ModuleList([expert(channels, height // 2, 8, num_classes), expert(channels, height, 48, num_classes)])
        macs = [count_macs(each, (1, *input_shape)) for each in self.experts]
        self.units = [Unit(f"experts.{n}", "expert", 1, macs[n], count_params(each)) for n, each in enumerate(self.experts)]
        self.macs_gate, self.macs_static = count_macs(self.gater, (1, *input_shape)), macs[1]

    def forward(self, x):
        gates = self.gater(x).softmax(1)
        return Output(sum(gates[:, n, None] * each(x) for n, each in enumerate(self.experts)), gates)

    def _infer(self, x, execution, decisions, policy):
        gates = self.gater(x).softmax(1) if decisions is None else None
        on = one_hot(gates.argmax(1), 2).bool() if decisions is None else decisions
        if execution == "masked":
            logits = sum(on[:, n, None] * each(x) for n, each in enumerate(self.experts))
            return Output(logits, gates, on, count=self.counting_all(len(x), decisions is None))
        logits = x.new_empty(len(x), self.experts[0][-1].out_features)
        for n, each in enumerate(self.experts):
            if on[:, n].any():
                logits[on[:, n]] = each(x[on[:, n]]).to(logits.dtype)
        return Output(logits, gates, on, count=self.counting(on, decisions is None))

    def legal(self, decisions):
        return decisions.sum(1) == 1

    def most(self):
        return torch.tensor([False, True])

    def least(self):
        return torch.tensor([True, False])

    def random_decisions(self, count, draw):
        return one_hot(torch.from_numpy(draw.integers(0, 2, count)), 2).bool()

    def claimed(self, decisions, gates=None):
        return 100 * (1 - (decisions @ [unit.macs for unit in self.units]).mean() / self.macs_static)

    def references(self):
        return {"the larger expert": self.experts[1], "the smaller expert": self.experts[0]}

    def probes(self):
        def group(n, x, own):
            rows = own.decisions[:, n]
            return partial(self.experts[n], x[rows]) if rows.any() else None

        experts = {f"expert {n}": Probe(partial(group, n), part=True) for n in range(2)}
        return {"gater": Probe(lambda x, own: partial(self.gater, x), part=True), **experts}
