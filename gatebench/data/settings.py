"""Settings of data. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from ..errors import UsageError
from ..settings import MOST_IMAGES, Part, Side, unset

LONGEST_NAME = 480
"""Characters of a data set's name, which rows hold."""
MOST_PIXELS = 4_000_000_000
"""Bytes of the procedural set's images."""

SEVERAL = ("all", "random")
"""Training severities that are not the name of one."""


def storable(name: str) -> str:
    """The name of a data set. Raises UsageError where a row could not hold it."""
    if name != name.encode(errors="replace").decode():
        raise UsageError(f"--dataset {ascii(name)} is not UTF-8. Rename it, or name a link to it.")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"--dataset has {len(name)} characters; {LONGEST_NAME} are the most. Give a shorter path, or a link to it.")
    return name


class Shapes(Part):
    """Size of the procedural set."""

    classes: int = Field(10, ge=2, le=1000)
    image_size: int = Field(24, ge=8, le=1024)
    train: int = Field(8000, ge=2, le=MOST_IMAGES)
    test: int = Field(2000, ge=2, le=MOST_IMAGES, validate_default=True)
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @field_validator("test")
    @classmethod
    def _fits_into_memory(cls, value: int, info: ValidationInfo) -> int:
        """Raises ValueError where all images together are too large."""
        pixels = 3 * (info.data.get("train", 0) + value) * info.data.get("image_size", 0) ** 2
        if pixels > MOST_PIXELS:
            raise ValueError(f"with train and image_size it is {pixels / 1e9:,.0f} GB of images; at most {MOST_PIXELS / 1e9:g} are drawn")
        return value


class Corruption(Part):
    """Gaussian blur, then Gaussian noise."""

    blur: float = Field(0.0, ge=0, le=1000)
    """Standard deviation in pixels."""
    noise: float = Field(0.0, ge=0, le=1000)
    """Standard deviation of pixels in [0, 1]."""


class Data(Part):
    name: str = Field("cifar10", max_length=LONGEST_NAME)
    """A name of the catalogue, or the path of a folder of images or of an .npz or .pt file."""
    augment: Literal["none", "crop-flip", "rand-augment"] = "none"
    """crop-flip: random crop after zero padding by an eighth of the side (4 pixels at 32), and a random horizontal flip, except of
    digits, whose mirror image is another thing. rand-augment: that, then RandAugment (Cubuk et al., arXiv 1909.13719) and random
    erasing (Zhong et al., arXiv 1708.04896), with torchvision's settings, one draw for eight images of a batch."""
    validation: int = Field(0, ge=0, le=MOST_IMAGES)
    """Images carved from train by a fixed seed, on which the study chooses; 0 trains on all of train. If the data set
    ships a validation split, that split is used and this number is ignored."""
    scored: Literal["test", "validation"] = Field("test", exclude_if=lambda value: value == "test")
    """validation: that part is scored, and test is left alone, as for trying settings out."""
    image_size: Side | None = None
    """Side to which a folder's images are scaled and cropped; none: they must all be of one size (intel-scenes: 128)."""
    severities: dict[Annotated[str, Field(max_length=60)], Corruption] = Field({}, max_length=100, exclude_if=unset)
    """Corruptions by name, in the order of severity; every image of the validation and scored parts comes in all of them."""
    training_severity: str = Field("all", exclude_if=lambda value: value == "all")
    """In which severities training images come. all: each in every one. The name of one: only in that. random: each once an epoch, in
    one drawn at random, with noise of its own."""
    holdout: int = Field(0, ge=0, le=MOST_IMAGES, exclude_if=unset)
    """Images put aside from train by a fixed seed, for what is trained on the outputs of networks that were trained on the rest."""
    train_on: Literal["rest", "holdout"] = Field("rest", exclude_if=lambda value: value == "rest")
    """Which of these two parts is trained on."""
    shapes: Shapes = Shapes()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())
