"""What trained channel gates are worth in each way of running them: hard, soft, scaled."""

import pandas as pd

from ...data.batches import Batches
from ...evaluation.outcome import collect
from ...evaluation.row import decided
from ...evaluation.scores import scores
from ...runs import RunFolder
from .network import ChannelGated
from .settings import CHANNELS, ChannelEvaluation

OF_TRAINING = ("accuracy_peak", "peak_epoch", "audit")
"""What only the headline's row says."""


class ChannelStudy:
    """The scored part in every way of running the gates; the model is left with the headline's."""

    def __init__(self, model: ChannelGated, settings: ChannelEvaluation, scored: Batches, precision: str):
        self.model, self.settings, self.outcomes = model, settings, []
        for inference in settings.inference:
            model.policy = inference
            self.outcomes.append(collect(model, scored, precision))
        model.policy = settings.inference[0]

    def rows(self, headline: dict) -> list[dict]:
        """The headline row, and one for each other way."""
        first, *others = self.settings.inference
        rows = [{**headline, "policy": first, "gates_run": first}]
        same = {key: value for key, value in headline.items() if key not in OF_TRAINING}
        for inference, outcome in zip(others, self.outcomes[1:], strict=True):
            measured = {**scores(outcome.labels, outcome.predictions), **decided(self.model, outcome), "gates_run": inference}
            rows.append({key: value for key, value in {**same, **measured, "policy": inference}.items() if value is not None})
        return rows

    def write(self, folder: RunFolder) -> None:
        """channels.csv: of every channel its layer, and for each way the share of the inputs for which it is on, and its mean gate."""
        gated = [unit for unit in self.model.units if unit.width]
        table = {
            "layer": [unit.name for unit in gated for _ in range(unit.width)],
            "channel": [number for unit in gated for number in range(unit.width)],
        }
        for inference, outcome in zip(self.settings.inference, self.outcomes, strict=True):
            table[f"on_{inference}"] = outcome.decisions.mean(0)
            if outcome.gates is not None:
                table[f"gate_{inference}"] = outcome.gates.mean(0)
        folder.write_text(CHANNELS, pd.DataFrame(table).to_csv(index=False, float_format="%.5g"))
