"""Options that networks on the same trunk share. Nothing here imports torch."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

Shortcut = Literal["zero-pad", "projection"]
"""Of a block that changes the shape: option A of He et al., without parameters, or a 1x1 convolution."""
Depth = Annotated[int, Field(ge=1, le=1202)]
"""Layers; the deepest of He et al. 2016 has 1202."""
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=16)]
"""Channels of the stages."""
WIDE = (64, 128, 256, 512)
"""Channels of the stages of ResNet-18 and ResNet-34 (He et al. 2016, arXiv 1512.03385, table 1)."""
Width = Annotated[float, Field(gt=0, le=16)]
"""By which the channels of every layer are multiplied."""
MOST_WEIGHTS = 1_000_000_000


def scaled(widths: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Channels times the width, rounded, one at least."""
    return tuple(max(1, round(each * width)) for each in widths)


def check_weights(channels: Iterable[int]) -> None:
    """Raises ValueError where 3x3 convolutions one after another, from the input's channels on, have more than `MOST_WEIGHTS` weights."""
    weights = sum(9 * before * after for before, after in pairwise(channels))
    if weights > MOST_WEIGHTS:
        raise ValueError(f"it would have {weights / 1e6:,.0f} million weights; {MOST_WEIGHTS / 1e6:,.0f} are the most. Make it smaller")
