"""Gates on the channels of two convolutions beside a residual stream without gates; what a layer costs goes with channels in and out."""

import torch
from torch import nn
from torch.nn.functional import conv2d

from gatebench.contract import GatedModel, Output, Unit
from gatebench.losses import Loss
from gatebench.measure.macs import count_macs, count_params
from gatebench.models.registry import register

WIDTH = 8


class L1(Loss):
    kind = "l1"
    weight: float

    def bind(self, model, parents):
        return lambda output, batch, clock: self.weight * output.gates.sum(1).mean()


@register("thin-channels", losses=(L1,))
class ThinChannels(GatedModel):
    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.input_shape = input_shape
        self.stem = nn.Sequential(nn.Conv2d(input_shape[0], WIDTH, 3, 2, 1), nn.ReLU())
        self.first, self.second, self.last = (nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, bias=False) for _ in range(3))
        self.gate, self.head = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, num_classes)
        shape = (1, WIDTH, -(-input_shape[1] // 2), -(-input_shape[2] // 2))
        widths = {"first": WIDTH, "second": WIDTH, "last": 0}
        parts = [(name, width, getattr(self, name)) for name, width in widths.items()]
        self.units = [Unit(name, "channels", width, count_macs(part, shape), count_params(part)) for name, width, part in parts]
        self.macs_gate = count_macs(self.gate, (1, WIDTH))
        outside = count_macs(self.stem, (1, *input_shape)) + count_macs(self.head, (1, WIDTH))
        self.macs_static = outside + sum(unit.macs for unit in self.units)

    def unit_macs(self, on):
        first, second = on[:, :WIDTH].mean(1), on[:, WIDTH:].mean(1)
        shares = torch.stack([first, first * second, second], 1)
        return shares * on.new_tensor([unit.macs for unit in self.units])

    def references(self):
        return {"all channels on": Dense(self)}

    def run(self, x, on):
        first = self.first(x).relu() * on[:, :WIDTH, None, None]
        second = self.second(first).relu() * on[:, WIDTH:, None, None]
        return self.head((x + self.last(second)).mean((2, 3)))

    def forward(self, x):
        x = self.stem(x)
        gates = torch.sigmoid(self.gate(x.mean((2, 3))))
        return Output(self.run(x, gates), gates)

    def _infer(self, x, execution, decisions, policy):
        x, gates = self.stem(x), None
        if decisions is None:
            gates = torch.sigmoid(self.gate(x.mean((2, 3))).float())
        on = gates > 0.5 if decisions is None else decisions
        if execution == "masked":
            return Output(self.run(x, on), gates, on, count=self.counting_all(len(x), decisions is None))
        streams = [one + self.thin(one, a, b) for one, a, b in zip(x.split(1), on[:, :WIDTH], on[:, WIDTH:], strict=True)]
        return Output(self.head(torch.cat(streams).mean((2, 3))), gates, on, count=self.counting(on, decisions is None))

    def thin(self, x, a, b):
        if not (a.any() and b.any()):
            return 0
        x = conv2d(x, self.first.weight[a], padding=1).relu()
        x = conv2d(x, self.second.weight[b][:, a], padding=1).relu()
        return conv2d(x, self.last.weight[:, b], padding=1)


class Dense(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.run(self.net.stem(x), x.new_ones(1, 2 * WIDTH))
