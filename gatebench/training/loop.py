"""The training loop: batches in, gradients down, one row of epochs.csv and one checkpoint an epoch.

Shapes: N images in a batch, C channels, H x W pixels, S switches.
"""

import math
import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..contract import GatedModel, Output
from ..data.batches import Batches
from ..device import autocast
from ..errors import GatebenchError, UsageError, nearest
from ..evaluation.outcome import collect
from ..losses import Batch, Clock, Loss, macs_share
from ..runs import RunFolder
from . import checkpoint
from .schedule import make_schedule
from .settings import Training
from .view import View


class Trainer:
    """One model's optimiser, schedule and step."""

    def __init__(
        self,
        model: GatedModel,
        settings: Training,
        losses: Mapping[str, Loss],
        steps_per_epoch: int,
        precision: str,
        parents: Mapping[str, nn.Module] | None = None,
    ):
        """`losses` by kind; `parents` are the networks of the run's parents by role."""
        self.model, self.settings, self.precision = model, settings, precision
        self.parents = list((parents or {}).values())
        self.losses = {kind: loss.bind(model, parents or {}) for kind, loss in losses.items()}
        self.frozen = [model.get_submodule(name) for name in settings.freeze]
        for part in self.frozen:
            part.requires_grad_(False)
        self.forward = torch.compile(model) if settings.compile else model
        self.optimizer = make_optimizer(settings, [parameter for parameter in model.parameters() if parameter.requires_grad])
        self.schedule = make_schedule(settings, self.optimizer, steps_per_epoch)

    def train(self) -> None:
        """Put the model in training mode, but for its frozen parts and its parents, whose batch norm keeps its statistics."""
        self.model.train()
        for part in (*self.frozen, *self.parents):
            part.eval()

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def step(self, batch: Batch, epoch: float) -> tuple[Tensor, dict[str, Tensor], Output]:
        """One batch: the loss, its weighted parts by kind and the model's output. `epoch` counts from 0, with the share of this one."""
        clock = Clock(epoch, self.settings.epochs)
        with autocast(batch.x.device, self.precision):
            output = self.forward(batch.x) if batch.outputs is None else self.forward(batch.x, batch.outputs)
            parts = {kind: loss(output, batch, clock) for kind, loss in self.losses.items()}
            loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.settings.clip_gradient:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_gradient)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach(), {kind: part.detach() for kind, part in parts.items()}, output


def make_optimizer(settings: Training, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The settings' optimiser over these parameters."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, nesterov=settings.nesterov)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(parameters, lr=rate, betas=(settings.momentum, 0.999), weight_decay=decay)


def check_freeze(names: tuple[str, ...], model: GatedModel) -> None:
    """Raises UsageError where the model has no part of a name, or nothing is left to train."""
    parts = dict(model.named_modules())
    del parts[""]
    for name in names:
        if name not in parts:
            raise UsageError(f"training.freeze: the model has no part {name!r}.{nearest(name, parts)}")
    frozen = {id(weight) for name in names for weight in parts[name].parameters()}
    if frozen >= {id(weight) for weight in model.parameters()}:
        raise UsageError("training.freeze: nothing is left to train; leave a part out.")


def fit(
    model: GatedModel,
    settings: Training,
    losses: Mapping[str, Loss],
    train: Batches,
    test: Batches,
    folder: RunFolder,
    *,
    scored: str,
    seed: int,
    precision: str,
    view: View,
    parents: Mapping[str, nn.Module] | None = None,
) -> None:
    """Train from the folder's last checkpoint to the last epoch; writes a line of epochs.csv and a checkpoint after each.

    `scored` is what `test` is: "test" or "validation". Raises GatebenchError where the loss is not a number; the checkpoint of the last
    good epoch is kept.
    """
    epochs = settings.epochs
    trainer = Trainer(model, settings, losses, len(train), precision, parents)
    state = {"model": model, "optimizer": trainer.optimizer, "schedule": trainer.schedule}
    progress = checkpoint.restore(folder, **state)
    if progress.epochs:  # killed after a checkpoint, its table lacks the last line
        folder.write_text("epochs.csv", progress.table())
    view.begin(epochs, len(train), scored, done=progress.epochs)
    for epoch in range(len(progress.epochs), epochs):
        started = time.perf_counter()
        epoch_seed = 100_003 * seed + epoch
        torch.manual_seed(epoch_seed)  # the gates' noise
        trainer.train()
        model.begin_epoch(epoch / epochs)
        meter = Meter(model)
        for step, batch in enumerate(train.shuffled(epoch_seed)):
            meter.add(*trainer.step(batch, epoch + step / len(train)), batch.labels)
            if view.wants_update():
                view.update(epoch, step + 1, meter.images, _finite(meter.means(), epoch, folder))
        means = _finite(meter.means(), epoch, folder)
        seconds = time.perf_counter() - started
        row = {
            "epoch": epoch + 1,
            "learning_rate": trainer.learning_rate,
            "train_loss": means.pop("loss"),
            "train_accuracy": means.pop("accuracy"),
            "train_mean_gate": means.pop("gate", None),
            "train_macs_share": means.pop("macs_share", None),
            **_scores(model, test, scored, precision, epoch, settings, folder),
            **{f"loss_{name}": value for name, value in means.items()},
            "images_per_second": meter.images / seconds,
            "seconds": seconds,
        }
        progress.epochs.append(row)
        checkpoint.save(folder, progress, **state)
        folder.write_text("epochs.csv", progress.table())
        view.epoch_done(progress.epochs[-1])


def _scores(model: GatedModel, test: Batches, scored: str, precision: str, epoch: int, settings: Training, folder: RunFolder) -> dict:
    """What an epoch's row says of the scored part; nothing where this epoch is not scored. Raises as `fit`."""
    every = settings.score_every
    if not every or ((epoch + 1) % every and epoch + 1 < settings.epochs):
        return {f"{scored}_accuracy": None, "mean_gate_soft": None, "mean_gate_hard": None}
    outcome = collect(model, test, precision, model.scoring)
    if not np.isfinite(outcome.confidence).all():  # the epoch's last step broke what its losses had not seen
        _finite({"loss": math.nan}, epoch, folder)
    return {f"{scored}_accuracy": outcome.accuracy, **outcome.gate_means(), **outcome.gate_means_by_unit(model)}


class Meter:
    """Running means over an epoch, kept on the device so that reading them is the only thing that waits for it."""

    def __init__(self, model: GatedModel):
        self.images, self.model = 0, model
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Tensor, parts: dict[str, Tensor], output: Output, labels: Tensor) -> None:
        count = len(labels)
        self.images += count
        values = {"loss": loss, "accuracy": 100 * (output.logits.argmax(1) == labels).float().mean()}
        if output.gates is not None:
            gates = output.gates.detach()
            values |= {"gate": gates.float().mean(), "macs_share": macs_share(gates, self.model)}
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
