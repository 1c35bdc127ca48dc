"""What every group of settings shares: unknown keys are refused, values do not change, and epochs are marked as such.

Nothing here imports torch.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

IN_EPOCHS = "in epochs"
"""Marks a setting that is counted in epochs: a run on another number of epochs than its recipe scales it."""


class Part(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def unset(value: Any) -> bool:
    """For `exclude_if`: a setting that is not used does not appear in recipes, nor in their digests."""
    return not value


def each_once(values: tuple) -> tuple:
    """The same values. Raises ValueError where one occurs twice."""
    if len(set(values)) < len(values):
        raise ValueError("each is to be given once")
    return values


def scaled(part: BaseModel, factor: float) -> Any:
    """The settings with everything that is counted in epochs multiplied by `factor`, in nested groups too."""
    changed = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            changed[name] = scaled(value, factor)
        elif isinstance(value, dict):
            changed[name] = {key: scaled(each, factor) if isinstance(each, BaseModel) else each for key, each in value.items()}
        elif IN_EPOCHS in field.metadata and value is not None:
            changed[name] = tuple(each * factor for each in value) if isinstance(value, tuple) else value * factor
    return part.model_copy(update=changed)
