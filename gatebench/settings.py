"""What every group of settings shares: unknown keys are refused, values do not change, and epochs are marked as such.

Nothing here imports torch.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

IN_EPOCHS = "in epochs"
"""Marks a setting that is counted in epochs: a run on another number of epochs than its recipe scales it."""


NUMBERS = (1e-30, 1e30)
"""Least and largest size of a setting that is not 0: float32 computes with these."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Of an image, in pixels."""
MOST_EPOCHS = 100_000
MOST_IMAGES = 10_000_000
LARGEST_BATCH = 65_536


def computable(value: Any) -> Any:
    """The same value. Raises ValueError where it is, or has, a number that cannot be computed with."""
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(each, (int, float)) and each and not NUMBERS[0] <= abs(each) <= NUMBERS[1]:
            raise ValueError("a number should be 0, or between {:g} and {:g} in size".format(*NUMBERS))
    return value


class Part(BaseModel):
    """A group of settings. Its numbers can be computed with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    _computable = field_validator("*")(computable)


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
