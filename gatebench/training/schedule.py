"""Learning rates by batch, from torch's own schedulers."""

from torch.optim import Optimizer, lr_scheduler

from .settings import Training


def make_schedule(training: Training, optimizer: Optimizer, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """The recipe's schedule, to be stepped after every batch."""
    steps = training.epochs * steps_per_epoch
    if training.schedule == "warm-restarts":
        first = max(1, round(training.restart_epochs * steps_per_epoch))
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=first, T_mult=training.restart_factor)
    if training.schedule == "steps":
        return lr_scheduler.MultiStepLR(optimizer, [round(epoch * steps_per_epoch) for epoch in training.milestones], gamma=0.1)
    if training.schedule == "one-cycle":
        total = steps + 1 + (steps == 4)  # torch divides by zero where the first fifth is one step
        return lr_scheduler.OneCycleLR(
            optimizer, training.learning_rate, total_steps=total, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False
        )
    if training.schedule == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
