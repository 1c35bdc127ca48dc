"""The training loop: batches in, gradients down, one row of epochs.csv and one checkpoint an epoch.

Shapes: N images in a batch, S switches.
"""

import math
import time

import pandas as pd
import torch
from torch import Tensor

from ..contract import GatedModel
from ..data.batches import Batches
from ..device import autocast
from ..errors import GatebenchError
from ..evaluation.outcome import collect
from ..objectives import total
from ..recipe import Recipe
from ..runs import RunFolder
from . import checkpoint
from .schedule import make_schedule
from .view import View


def fit(
    model: GatedModel, recipe: Recipe, train: Batches, test: Batches, folder: RunFolder, *, seed: int, precision: str, view: View
) -> checkpoint.Progress:
    """Train from the folder's last checkpoint to the recipe's last epoch; leaves the model as annealed as it gets.

    Raises GatebenchError where the loss is not a number; the checkpoint of the last good epoch is kept.
    """
    settings = recipe.training
    device = train.labels.device
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay,
    )  # fmt: skip
    schedule = make_schedule(settings, optimizer, len(train))
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    progress = checkpoint.restore(folder, **parts)
    forward = torch.compile(model) if settings.compile else model
    view.begin(settings.epochs, len(train), done=progress.epochs)
    for epoch in range(len(progress.epochs), settings.epochs):
        started = time.perf_counter()
        epoch_seed = 100_003 * seed + epoch
        torch.manual_seed(epoch_seed)  # the gates' noise
        model.train()
        model.begin_epoch(epoch / settings.epochs)
        meter = Meter(device)
        for step, (x, labels) in enumerate(train.shuffled(epoch_seed)):
            with autocast(device, precision):
                output = forward(x)
                loss, parts_of_loss = total(recipe.objective, output, labels, epoch + step / len(train))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip_gradient:
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_gradient)
            optimizer.step()
            schedule.step()
            meter.add(loss, parts_of_loss, output, labels)
            if view.wants_update():
                means = meter.means()
                _refuse_nan(means["loss"], epoch, folder)
                view.update(epoch, step + 1, meter.images, means)
        means = meter.means()
        _refuse_nan(means["loss"], epoch, folder)
        seconds = time.perf_counter() - started
        progress.seconds += seconds
        outcome = collect(model, test, precision)
        progress.epochs.append(
            {
                "epoch": epoch + 1,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "train_loss": means["loss"],
                "train_accuracy": means["accuracy"],
                "train_mean_gate": means.get("gate"),
                "test_accuracy": outcome.accuracy,
                **outcome.gate_means(),
                **{f"loss_{name}": value for name, value in means.items() if name not in ("loss", "accuracy", "gate")},
                "images_per_second": meter.images / seconds,
                **outcome.gate_means_by_unit(model.units),
            }
        )
        checkpoint.save(folder, progress, **parts)
        folder.write_text("epochs.csv", pd.DataFrame(progress.epochs).to_csv(index=False))
        view.epoch_done(progress.epochs[-1])
    model.begin_epoch(1.0)
    return progress


class Meter:
    """Running means over an epoch, kept on the device so that reading them is the only thing that waits for it."""

    def __init__(self, device: torch.device):
        self.device, self.images = device, 0
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Tensor, parts: dict[str, Tensor], output, labels: Tensor) -> None:
        count = len(labels)
        self.images += count
        self._add("loss", loss.detach() * count)
        self._add("accuracy", 100 * (output.logits.argmax(1) == labels).sum())
        if output.gates is not None:
            self._add("gate", output.gates.detach().float().mean() * count)
        for name, part in parts.items():
            self._add(name, part * count)

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.images for name, value in self.sums.items()}


def _refuse_nan(loss: float, epoch: int, folder: RunFolder) -> None:
    if not math.isfinite(loss):
        kept = f"The checkpoint of epoch {epoch} is kept in {folder.path}" if epoch else "No epoch was finished"
        raise GatebenchError(
            f"The loss is not a number in epoch {epoch + 1}. {kept}. Try a lower rate, such as --set training.learning_rate=0.05,"
            " or --set training.precision=fp32."
        )
