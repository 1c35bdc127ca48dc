"""Looks a second time, more closely, at images with much contrast; how much is chosen on validation and has a column of its own."""

import torch
from torch import nn

from gatebench.contract import GatedModel, Output, Unit
from gatebench.evaluation.outcome import collect
from gatebench.measure.macs import count_macs, count_params
from gatebench.models.registry import register
from gatebench.row import Column
from gatebench.studies import Study


class Contrast(Study):
    kind = "contrast"
    candidates: tuple[float, ...]

    def run(self, model, validation, scored, precision):
        def accuracy(contrast):
            model.policy = contrast
            return collect(model, validation, precision).accuracy

        model.policy = max(self.candidates, key=accuracy)
        return Chosen(model.policy)


class Chosen(float):
    outcomes = ()

    def rows(self, headline):
        return [{**headline, "policy": "best contrast", "contrast": float(self)}]

    def write(self, folder):
        folder.write_text("contrast.csv", f"contrast\n{float(self)}\n")


@register("second-look", study=Contrast, columns=(Column(name="contrast", kind="number", meaning="chosen", heading="contrast"),))
class SecondLook(GatedModel):
    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.input_shape = input_shape
        self.register_buffer("contrast", torch.tensor(1.0))

        def look(width):
            layers = nn.Conv2d(input_shape[0], width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
            return nn.Sequential(*layers, nn.Linear(4 * width, num_classes))

        self.first, self.second = look(4), look(32)
        self.first_macs, self.macs_static = (count_macs(part, (1, *input_shape)) for part in (self.first, self.second))
        self.units = [Unit("second", "segment", 1, self.macs_static, count_params(self.second))]

    macs_outside = property(lambda self: self.first_macs)
    policy = property(lambda self: self.contrast.item(), lambda self, value: self.contrast.fill_(value))

    def references(self):
        return {"the second look alone": self.second}

    def forward(self, x):
        return Output(self.first(x) + self.second(x), self.gates(x, self.policy))

    def gates(self, x, contrast):
        return torch.sigmoid(x.flatten(1).std(1, keepdim=True) - contrast)

    def _infer(self, x, execution, decisions, policy):
        logits, gates = self.first(x), self.gates(x, self.policy if policy is None else policy)
        on = gates > 0.5 if decisions is None else decisions
        if execution == "masked":
            return Output(torch.where(on, logits + self.second(x), logits), gates, on, count=self.counting_all(len(x)))
        logits[on[:, 0]] += self.second(x[on[:, 0]])
        return Output(logits, gates, on, count=self.counting(on))
