"""`resume.pt`: everything a killed run needs in order to go on as if nothing had happened.

Randomness needs no state: every epoch seeds its own order, augmentation and gate noise from the run's seed.
"""

import io
import pickle
import zipfile
from dataclasses import dataclass

import pandas as pd
import torch

from ..errors import GatebenchError
from ..runs import RunFolder

NAME = "resume.pt"


@dataclass
class Progress:
    """What has been done so far."""

    epochs: list[dict]
    """One row of epochs.csv for each finished epoch."""

    def table(self) -> str:
        """epochs.csv."""
        return pd.DataFrame(self.epochs).to_csv(index=False)


def save(folder: RunFolder, progress: Progress, **parts) -> None:
    """Write the state of `parts` (model, optimizer, schedule) after a whole epoch."""
    state = {name: part.state_dict() for name, part in parts.items()}
    content = {"epochs": progress.epochs, **state}
    packed = io.BytesIO()  # of a stream that cannot be written torch says that, and no more
    torch.save(content, packed)
    folder.write(NAME, lambda stream: stream.write(packed.getbuffer()))


def restore(folder: RunFolder, **parts) -> Progress:
    """Bring `parts` back to the last whole epoch, or leave them as they are where none was finished.

    Raises GatebenchError for a file that is not what it should be.
    """
    path = folder / NAME
    if not folder.has(NAME):
        return Progress([])
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():  # torch does not look at the check sums
                raise ValueError("a part of it has changed")
        content = torch.load(path, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            part.load_state_dict(content[name])
        pd.DataFrame(content["epochs"])[["epoch", "train_loss"]]
        return Progress(content["epochs"])
    except (
        OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise GatebenchError(
            f"{path} is damaged, or not of this run ({type(error).__name__}). Remove it to start over, or add --fresh."
        ) from None
