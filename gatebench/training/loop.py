"""The training loop: batches in, gradients down, one row of epochs.csv and one checkpoint an epoch.

Shapes: N images in a batch, S switches.
"""

import math
import time

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel, Output
from ..data.batches import Batches
from ..device import autocast
from ..errors import GatebenchError
from ..evaluation.outcome import collect
from ..objectives import macs_share, total
from ..recipe import Recipe
from ..runs import RunFolder
from . import checkpoint
from .schedule import make_schedule
from .view import View


class Trainer:
    """One model's optimiser, schedule and step."""

    def __init__(self, model: GatedModel, recipe: Recipe, steps_per_epoch: int, precision: str):
        settings = recipe.training
        self.model, self.objective, self.clip, self.precision = model, recipe.objective, settings.clip_gradient, precision
        self.frozen = [model.get_submodule(name) for name in settings.freeze]
        for part in self.frozen:
            part.requires_grad_(False)
        self.forward = torch.compile(model) if settings.compile else model
        self.optimizer = torch.optim.SGD(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )
        self.schedule = make_schedule(settings, self.optimizer, steps_per_epoch)
        self.macs = torch.from_numpy(model.switch_macs).float().to(next(model.parameters()).device)

    def train(self) -> None:
        """The model in training mode, but for its frozen parts, whose batch norm keeps its statistics."""
        self.model.train()
        for part in self.frozen:
            part.eval()

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def step(self, x: Tensor, labels: Tensor, epoch: float) -> tuple[Tensor, dict[str, Tensor], Output]:
        """One batch: the loss, its weighted parts and the model's output. `epoch` counts from 0, with the share of this one."""
        with autocast(x.device, self.precision):
            output = self.forward(x)
            loss, parts = total(self.objective, output, labels, epoch, self.macs)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach(), parts, output


def fit(
    model: GatedModel,
    recipe: Recipe,
    train: Batches,
    test: Batches,
    folder: RunFolder,
    *,
    scored: str,
    seed: int,
    precision: str,
    view: View,
) -> checkpoint.Progress:
    """Train from the folder's last checkpoint to the recipe's last epoch; leaves the model as annealed as it gets.

    `scored` is what `test` is: "test" or "validation".

    Raises GatebenchError where the loss is not a number; the checkpoint of the last good epoch is kept. A finished run is not trained
    again: GatebenchError where its epochs are not there.
    """
    epochs = recipe.training.epochs
    trainer = Trainer(model, recipe, len(train), precision)
    state = {"model": model, "optimizer": trainer.optimizer, "schedule": trainer.schedule}
    progress = checkpoint.restore(folder, epochs, **state)
    if folder.finished and len(progress.epochs) < epochs:
        raise GatebenchError(
            f"{folder.path} is finished, but has neither {checkpoint.NAME} nor an epochs.csv of all its epochs, without which it cannot be"
            " evaluated in another way. Train into a folder of its own with --fresh."
        )
    view.begin(epochs, len(train), scored, done=progress.epochs)
    for epoch in range(len(progress.epochs), epochs):
        started = time.perf_counter()
        epoch_seed = 100_003 * seed + epoch
        torch.manual_seed(epoch_seed)  # the gates' noise
        trainer.train()
        model.begin_epoch(epoch / epochs)
        meter = Meter(trainer.macs)
        for step, (x, labels) in enumerate(train.shuffled(epoch_seed)):
            meter.add(*trainer.step(x, labels, epoch + step / len(train)), labels)
            if view.wants_update():
                view.update(epoch, step + 1, meter.images, _finite(meter.means(), epoch, folder))
        means = _finite(meter.means(), epoch, folder)
        seconds = time.perf_counter() - started
        progress.seconds += seconds
        outcome = collect(model, test, precision)
        if not np.isfinite(outcome.confidence).all():  # the epoch's last step broke what its losses had not seen
            _finite({"loss": math.nan}, epoch, folder)
        progress.epochs.append(
            {
                "epoch": epoch + 1,
                "learning_rate": trainer.learning_rate,
                "train_loss": means.pop("loss"),
                "train_accuracy": means.pop("accuracy"),
                "train_mean_gate": means.pop("gate", None),
                "train_macs_share": means.pop("macs_share", None),
                f"{scored}_accuracy": outcome.accuracy,
                **outcome.gate_means(),
                **{f"loss_{name}": value for name, value in means.items()},
                "images_per_second": meter.images / seconds,
                **outcome.gate_means_by_unit(model),
            }
        )
        checkpoint.save(folder, progress, **state)
        folder.write_text("epochs.csv", progress.table())
        view.epoch_done(progress.epochs[-1])
    model.begin_epoch(1.0)
    return progress


class Meter:
    """Running means over an epoch, kept on the device so that reading them is the only thing that waits for it."""

    def __init__(self, macs: Tensor):
        self.images, self.macs = 0, macs
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Tensor, parts: dict[str, Tensor], output: Output, labels: Tensor) -> None:
        count = len(labels)
        self.images += count
        values = {"loss": loss, "accuracy": 100 * (output.logits.argmax(1) == labels).float().mean()}
        if output.gates is not None:
            gates = output.gates.detach()
            values |= {"gate": gates.float().mean(), "macs_share": macs_share(gates, self.macs)}
        for name, value in (values | parts).items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.images for name, value in self.sums.items()}


def _finite(means: dict[str, float], epoch: int, folder: RunFolder) -> dict[str, float]:
    """The same means; raises GatebenchError where the loss is not a number."""
    if not math.isfinite(means["loss"]):
        kept = f"The checkpoint of epoch {epoch} is kept in {folder.path}" if epoch else "No epoch was finished"
        raise GatebenchError(
            f"The loss is not a number in epoch {epoch + 1}. {kept}. Try a lower rate, such as --set training.learning_rate=0.05,"
            " or --set training.precision=fp32."
        )
    return means
