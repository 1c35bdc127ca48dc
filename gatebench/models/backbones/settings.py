"""Options that networks on the same trunk share. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

Shortcut = Literal["zero-pad", "projection"]
"""Of a block that changes the shape: option A of He et al., without parameters, or a 1x1 convolution."""
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""Channels of the stages."""
