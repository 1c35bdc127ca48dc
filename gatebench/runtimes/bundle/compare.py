"""What an exported network says of images beside what the network itself says.

Shapes: K classes, S switches.
"""

import math
from dataclasses import dataclass

import numpy as np

from ...contract import Output
from ...errors import GatebenchError
from .run import Answer


@dataclass
class Compared:
    """What was compared so far."""

    name: str
    """Of what answers."""
    images: int = 0
    apart: float = 0.0
    """Largest difference of logits, over the largest logit, or over 1."""
    turned: int = 0
    """Images that were decided about otherwise, whose logits are not compared."""
    relabelled: int = 0
    """Images that get another class."""

    def add(self, answer: Answer, output: Output) -> None:
        """One image's, beside what the network gives for it alone: logits [1, K] and decisions [1, S].

        Raises GatebenchError where logits are NaN or infinite, or MACs are not those of the decisions.
        """
        logits, on = output.logits[0].float().cpu().numpy(), output.decisions[0].nonzero().flatten().tolist()
        if not np.isfinite(answer.logits).all():
            raise GatebenchError(f"{self.name} gives logits that are no numbers. Please report this network.")
        self.images += 1
        self.relabelled += int(answer.logits.argmax() != logits.argmax())
        if answer.on != on:
            self.turned += 1
        else:
            if not math.isclose(answer.macs, float(output.executed_macs.sum()), rel_tol=1e-5):
                raise GatebenchError(f"{self.name} counts other MACs than the network does. Please report this network.")
            self.apart = max(self.apart, float(np.abs(answer.logits - logits).max() / max(1.0, np.abs(logits).max())))

    def one(self, answer: Answer, output: Output, tolerance: float) -> None:
        """`add` and `check`, where no decision may differ."""
        self.add(answer, output)
        self.check(tolerance, 0)

    def check(self, tolerance: float, share: float) -> None:
        """Raises GatebenchError where logits lie further apart, or decisions turn for a larger share of the images."""
        if self.apart > tolerance or self.turned > share * self.images:
            raise GatebenchError(
                f"{self.name} does not answer as the network does: logits differ by up to {self.apart:.2g} of the largest, and"
                f" {self.turned} of {self.images} images are decided about otherwise. Please report this network."
            )
