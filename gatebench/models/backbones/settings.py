"""Options that networks on the same trunk share. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

Shortcut = Literal["zero-pad", "projection"]
"""Of a block that changes the shape: option A of He et al., without parameters, or a 1x1 convolution."""
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""Channels of the stages."""
WIDE = (64, 128, 256, 512)
"""Channels of the stages of ResNet-18 and ResNet-34 (He et al. 2016, arXiv 1512.03385, table 1)."""
Width = PositiveFloat
"""By which the channels of every layer are multiplied."""


def scaled(widths: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Channels times the width, rounded, one at least."""
    return tuple(max(1, round(each * width)) for each in widths)
