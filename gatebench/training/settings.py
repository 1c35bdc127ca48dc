"""Settings of training. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationInfo, field_validator

from ..settings import IN_EPOCHS, LARGEST_BATCH, MOST_EPOCHS, Part, unset


class Training(Part):
    """How a network is trained."""

    epochs: int = Field(160, ge=0, le=MOST_EPOCHS)
    """0: nothing is trained by gradients."""
    batch_size: int = Field(128, ge=2, le=LARGEST_BATCH)
    """At least two: batch norm takes the variance over the batch."""
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", exclude_if=lambda value: value == "sgd")
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of SGD; the first beta of Adam and AdamW."""
    weight_decay: NonNegativeFloat = 5e-4
    schedule: Literal["cosine", "warm-restarts", "one-cycle", "steps", "constant"] = "cosine"
    """Learning rate, stepped every batch. cosine: from the rate to 0. warm-restarts: the same again and again.
    one-cycle: linearly up to the rate in the first fifth, then linearly down to 0. steps: a tenth after each of the milestones."""
    milestones: Annotated[tuple[PositiveFloat, ...], IN_EPOCHS] = Field((), max_length=1000, exclude_if=unset)
    """Epochs of steps."""
    restart_epochs: Annotated[PositiveFloat, IN_EPOCHS] = 50
    """Length of the first cycle of warm-restarts."""
    restart_factor: int = Field(2, ge=1, le=1000)
    """Every further cycle is so many times as long."""
    clip_gradient: PositiveFloat | None = None
    """Largest norm of the gradient."""
    nesterov: bool = Field(False, exclude_if=unset)
    freeze: tuple[str, ...] = Field((), max_length=1000, exclude_if=unset)
    """Parts of the model, by name (`segments`, `heads.2`), that are not trained; their batch norm keeps its statistics."""
    score_every: int = Field(1, ge=0, le=MOST_EPOCHS, exclude_if=lambda value: value == 1)
    """Epochs between two scorings of the test part while it trains, of which the last epoch is one; 0: it is scored once trained."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device multiplies it natively, else fp32."""
    compile: bool = False

    @field_validator("nesterov")
    @classmethod
    def _has_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        """Raises ValueError where there is no momentum of SGD that Nesterov's could be made of."""
        if value and (info.data.get("optimizer") != "sgd" or not info.data.get("momentum")):
            raise ValueError("it wants the optimizer sgd, and a momentum above 0")
        return value
