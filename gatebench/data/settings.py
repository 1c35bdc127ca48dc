"""Settings of data. Nothing here imports torch."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..settings import Part, unset

SEVERAL = ("all", "random")
"""Training severities that are not the name of one."""


class Shapes(Part):
    """Size of the procedural set."""

    classes: int = Field(10, ge=2)
    image_size: int = Field(24, ge=8)
    train: int = Field(8000, ge=2)
    test: int = Field(2000, ge=2)
    seed: NonNegativeInt = 0


class Corruption(Part):
    """Gaussian blur, then Gaussian noise."""

    blur: NonNegativeFloat = 0.0
    """Standard deviation in pixels."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of pixels in [0, 1]."""


class Data(Part):
    name: str = "cifar10"
    """A name of the catalogue, or the path of a folder of images or of an .npz file."""
    augment: Literal["none", "crop-flip", "rand-augment"] = "none"
    """crop-flip: random crop after zero padding by an eighth of the side (4 pixels at 32), and a random horizontal flip, except of
    digits, whose mirror image is another thing. rand-augment: that, then RandAugment (Cubuk et al., arXiv 1909.13719) and random
    erasing (Zhong et al., arXiv 1708.04896), with torchvision's settings, one draw for eight images of a batch."""
    validation: NonNegativeInt = 0
    """Images carved from train by a fixed seed, on which the study chooses; 0 trains on all of train. If the data set
    ships a validation split, that split is used and this number is ignored."""
    scored: Literal["test", "validation"] = Field("test", exclude_if=lambda value: value == "test")
    """validation: that part is scored, and test is left alone, as for trying settings out."""
    image_size: PositiveInt | None = None
    """Side to which a folder's images are scaled and cropped; none: they must all be of one size (intel-scenes: 128)."""
    severities: dict[str, Corruption] = Field({}, exclude_if=unset)
    """Corruptions by name, in the order of severity; every image of the validation and scored parts comes in all of them."""
    training_severity: str = Field("all", exclude_if=lambda value: value == "all")
    """In which severities training images come. all: each in every one. The name of one: only in that. random: each once an epoch, in
    one drawn at random, with noise of its own."""
    holdout: NonNegativeInt = Field(0, exclude_if=unset)
    """Images put aside from train by a fixed seed, for what is trained on the outputs of networks that were trained on the rest."""
    train_on: Literal["rest", "holdout"] = Field("rest", exclude_if=lambda value: value == "rest")
    """Which of these two parts is trained on."""
    shapes: Shapes = Shapes()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())
