"""What the decisions ask for and what was really computed, in MACs.

Shapes: N inputs, U units.
"""

import numpy as np

from ..contract import GatedModel
from .outcome import Outcome


def decided_macs(model: GatedModel, outcome: Outcome) -> np.ndarray:
    """MACs [N] the decisions ask for: what no decision can save, the gates, and the units' shares that are on."""
    return _fixed(model) + outcome.unit_fractions(model.units) @ _unit_macs(model)


def executed_macs(model: GatedModel, outcome: Outcome) -> np.ndarray:
    """MACs [N] the executor really ran, whatever was computed only in order to decide included."""
    return _fixed(model) + outcome.executed.astype(np.float64) @ _unit_macs(model)


def _fixed(model: GatedModel) -> int:
    return model.macs_base + model.macs_gate


def _unit_macs(model: GatedModel) -> np.ndarray:
    return np.array([unit.macs for unit in model.units], dtype=np.float64)
