"""What is chosen once a network is trained, such as thresholds: settings that a recipe names by kind below `study`.

Nothing here imports torch when it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from .settings import Part

if TYPE_CHECKING:
    from .contract import GatedModel
    from .data.batches import Batches
    from .data.settings import Data
    from .evaluation.outcome import Outcome
    from .runs import RunFolder


class Study(Part):
    """Base of every study's settings. `kind` is its name in recipes."""

    kind: ClassVar[str]

    def check(self, model: GatedModel, data: Data, sized: bool) -> None:
        """Raises UsageError naming the setting where it does not fit the model or the data.

        `sized`: the model is that of the data, so that what its parts cost is known.
        """

    def run(self, model: GatedModel, validation: Batches | None, scored: Batches, precision: str) -> Chosen:
        """Choose on `validation` alone, score on `scored`; the model is left with the headline's choice."""
        raise NotImplementedError


class Chosen(Protocol):
    """What a study found."""

    outcomes: Sequence[Outcome]
    """What the network did for each row, in their order, so that severities of corruption are scored apart; none: for the headline's."""

    def rows(self, headline: dict) -> list[dict]:
        """The headline row with what is measured of its choice, and a row for each other choice.

        After them may come rows with a `reference`: what the choices are compared with, such as an expert alone.
        """

    def write(self, folder: RunFolder) -> None:
        """Its own tables, such as curves."""
