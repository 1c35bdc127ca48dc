"""The conditions of a timing.

Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conditions:
    """What a measured time depends on besides what is timed."""

    machine: str
    """Its name, as `measure.machine.machine_name` gives it."""
    device: str
    """cpu or cuda."""
    threads: int

    def match(self, record: Mapping[str, Any]) -> bool:
        """Whether these are the conditions of a row of times, or of another record."""
        return all(record.get(name) == value for name, value in vars(self).items())
