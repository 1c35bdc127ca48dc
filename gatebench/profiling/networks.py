"""What a command line names to be measured: finished runs, a registered model, or a network from somebody else's file.

RUN is a run folder, or a folder of them; MODEL a registered name, or FILE.py[:FACTORY] whose factory (`build` unless named) is
called with the number of classes.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import models, recipe
from ..contract import GatedModel
from ..data.batches import Batches
from ..data.catalogue import load
from ..data.images import Dataset
from ..errors import GatebenchError, UsageError, first_line, nearest
from ..recipe import Data
from ..runs import RunFolder
from .outside import build


@dataclass
class Network:
    """A network and the real inputs it is meant for."""

    label: str
    model: nn.Module
    data: Dataset
    folder: RunFolder | None = None
    """The run it comes from."""
    row: dict = field(default_factory=dict)
    """That run's headline row."""
    scored: bool = False
    """Whether that row is about these very inputs."""

    def batch(self, numbers: np.ndarray, device: torch.device) -> Tensor:
        """The scored inputs of these numbers, normalised: float32 [B, C, H, W], channels_last."""
        batches = Batches(self.data.test[numbers], self.data.mean, self.data.std, batch_size=len(numbers), device=device)
        return next(batches.in_order())[0]


def _told_apart(networks: list[Network]) -> list[Network]:
    """Runs that only --set or time tells apart get the end of their folder's name."""
    labels = [network.label for network in networks]
    return [
        replace(network, label=f"{network.label} {network.folder.path.name.rsplit('-', 1)[-1]}")
        if network.folder and labels.count(network.label) > 1
        else network
        for network in networks
    ]


class Loader:
    """Networks by what the command line calls them; every data set is read once."""

    def __init__(self, root: Path, dataset: str | None = None):
        """`dataset` replaces the networks' own data."""
        self.root, self.dataset = root, dataset
        self.loaded: dict[Data, Dataset] = {}
        self.left_out: list[str] = []
        """Runs of a folder that cannot be timed, and why."""

    def enter(self, names: list[str], weights: Path | None = None) -> list[Network]:
        """All that the names stand for, runs first; `weights` is a file for the one that is no run.

        What brings no data of its own takes that of the first that does. Raises UsageError or GatebenchError saying what is wrong.
        """
        runs = [name for name in names if Path(name).is_dir()]
        others = [name for name in names if name not in runs]
        if weights and len(others) != 1:
            raise UsageError(f"--weights {weights} is for one network that is no run; {len(others)} were named.")
        found = [network for name in runs for network in self._runs(Path(name))]
        for name in sorted(others, key=lambda name: name not in models.list_models()):
            found.append(self._other(name, weights, fallback=found[0].data if found else None))
        return _told_apart(found)

    def rival(self, name: str, entered: list[Network]) -> Network:
        """The one network that all `entered` ones are compared with, on their data. Raises UsageError where that is not possible."""
        found = self._runs(Path(name)) if Path(name).is_dir() else [self._other(name, None, entered[0].data)]
        if len(found) != 1:
            raise UsageError(f"--vs {name} stands for {len(found)} networks; name one.")
        for network in entered:
            if network.data is not found[0].data:
                mine, its = (f"{each.data.name} ({each.data.scored})" for each in (network, found[0]))
                raise UsageError(
                    f"{network.label} has inputs of {mine}, {found[0].label} of {its}; a comparison needs the same ones."
                    " Say which with --dataset, or compare them apart."
                )
        return found[0]

    def _runs(self, path: Path) -> list[Network]:
        """The run at `path`, or those in it that can be timed; what is wrong with the others is in `left_out`."""
        if (path / "recipe.yaml").exists():
            return [self._run(RunFolder(path))]
        folders = sorted(summary.parent for summary in path.glob("*/summary.json"))
        found, wrong = [], []
        for folder in folders:
            try:
                found.append(self._run(RunFolder(folder)))
            except GatebenchError as error:
                wrong.append(error)
        if not folders:
            raise UsageError(f"There is no finished run in {path}. Train one with `gatebench train MODEL --out {path}`.")
        if not found:
            raise wrong[0]
        self.left_out += map(str, wrong)
        return found

    def _run(self, folder: RunFolder) -> Network:
        if not folder.finished:
            raise UsageError(f"{folder.path} is a run that has not finished. Give the command that trains it again, and it goes on.")
        row = folder.read_json("summary.json", "model", "recipe", "seed")
        described = folder.read_json("data.json", "classes", "input_shape", "fingerprint")
        plan = recipe.parse(_yaml(folder / "recipe.yaml"), str(folder / "recipe.yaml"))
        model = trained(folder, plan, described)
        data = self._load(plan.data)
        scored = self._scores(plan.data, data, described["fingerprint"])
        if self.dataset is None and not scored:
            raise GatebenchError(
                f"{folder.path} was trained on another {data.name} than that below {self.root}: pixels or labels differ."
                " Name the right folder with --data-dir."
            )
        if model.input_shape != data.input_shape:
            wanted, given = ("x".join(map(str, shape)) for shape in (model.input_shape, data.input_shape))
            raise UsageError(f"{folder.path} was trained on {wanted} inputs, those of {data.name} are {given}. Name a set of its size.")
        return Network(f"{row['model']} {row['recipe']} {data.name} s{row['seed']}", model, data, folder, row, scored)

    def _scores(self, own: Data, data: Dataset, fingerprint: str) -> bool:
        """Whether the inputs to be timed on are those that a run was scored on; `own` and the fingerprint are the run's."""
        if self.dataset is None:
            return data.fingerprint() == fingerprint
        if self.dataset != own.name:
            return False
        trained_on = load(own, self.root)  # with its validation part, which --dataset leaves in train
        same = np.array_equal(trained_on.test.pixels, data.test.pixels) and np.array_equal(trained_on.test.labels, data.test.labels)
        return same and trained_on.fingerprint() == fingerprint

    def _other(self, name: str, weights: Path | None, data: Dataset | None = None, fallback: Dataset | None = None) -> Network:
        """What is no run: on `data`, else on its own, else on `fallback`."""
        file, _, factory = (name, "", "") if name.endswith(".py") else name.rpartition(":")
        if file.endswith(".py"):
            network = self._outside(Path(file), factory or "build", self._given(data or fallback, name))
        elif name in models.list_models():
            network = self._model(name, data, fallback)
        else:
            close = nearest(name, models.list_models())
            raise UsageError(f"{name} is neither a run folder, nor a FILE.py[:FACTORY], nor a registered model.{close}")
        if weights:
            _fill(network.model, weights, "Name the weights that belong to it")
        elif name in models.list_models() and isinstance(network.model, GatedModel) and network.model.units:
            network.label += " (untrained)"
        return network

    def _model(self, name: str, data: Dataset | None, fallback: Dataset | None) -> Network:
        """A registered model as its default recipe builds it."""
        known, options = models.entry(name), {}
        if (known.family, known.default) in recipe.available(known.family):
            plan = recipe.load(known.family, name, known.default)
            options, data = models.resolve(plan.model).options, data or self._load(plan.data)
        data = data or self._given(fallback, name)
        return Network(name, models.create(name, len(data.classes), data.input_shape, **options), data)

    def _outside(self, file: Path, factory: str, data: Dataset) -> Network:
        label = file.stem if factory == "build" else f"{file.stem}:{factory}"
        return Network(label, build(file, factory, len(data.classes)), data)

    def _given(self, data: Dataset | None, name: str) -> Dataset:
        """The data of --dataset, else that of what else is timed."""
        if data is None and self.dataset is None:
            raise UsageError(f"Say with --dataset on which inputs {name} is to be timed: a name, a folder of images or an .npz.")
        return data or self._load(Data(name=self.dataset))

    def _load(self, data: Data) -> Dataset:
        """The data set; the same object for whatever has the same pixels."""
        given = {"name": self.dataset, "validation": 0, "scored": "test"} if self.dataset else {}
        data = data.model_copy(update={"augment": Data().augment, **given})
        if data not in self.loaded:
            self.loaded[data] = load(data, self.root)
        return self.loaded[data]


def trained(folder: RunFolder, plan: recipe.Recipe, described: dict) -> GatedModel:
    """The network of a run; `described` is what data.json says. Raises GatebenchError where its weights are gone or another's."""
    if not (folder / "model.safetensors").exists():
        raise GatebenchError(f"{folder.path} has no model.safetensors: its weights were not kept. Train it again to profile it.")
    model = models.create(plan.model.name, len(described["classes"]), tuple(described["input_shape"]), **plan.model.options)
    _fill(model, folder / "model.safetensors", "Put back those of this run, or train it again")
    return model


def _yaml(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise GatebenchError(f"{path} cannot be read ({first_line(error)}). Train the run again, or name another.") from None


def _fill(model: nn.Module, path: Path, mend: str) -> None:
    """Weights from .safetensors, or from a torch file with a state_dict. Raises GatebenchError where they are not the model's."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"There are no weights at {path}.") from None
    except Exception as error:  # whatever safetensors, zipfile and pickle make of a file that is none of theirs
        wanted = "wanted is .safetensors, or what torch.save(model.state_dict(), ...) writes"
        raise GatebenchError(f"{path} is not a file of weights that can be read ({type(error).__name__}); {wanted}.") from None
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise GatebenchError(f"{path} holds the weights of another network: {_mismatch(model, state, error)}. {mend}.") from None


def _mismatch(model: nn.Module, state: object, error: Exception) -> str:
    """The first tensor that does not fit."""
    if not isinstance(state, dict):
        return first_line(error)
    for name, tensor in model.state_dict().items():
        if name not in state:
            return f"they have no {name}"
        if getattr(state[name], "shape", None) != tensor.shape:
            return f"{name} is {list(getattr(state[name], 'shape', []))}, wanted is {list(tensor.shape)}"
    return f"they have {next(iter(state.keys() - model.state_dict().keys()), first_line(error))} too"
