"""What a command line names to be measured: finished runs, a registered model, or a network from somebody else's file.

RUN is a run folder, or a folder of them; MODEL a registered name, or FILE.py[:FACTORY] whose factory (`build` unless named) is
called with the number of classes.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import models, recipe
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

    def batch(self, numbers: np.ndarray, device: torch.device) -> Tensor:
        """The scored inputs of these numbers, normalised: float32 [B, C, H, W], channels_last."""
        pixels = torch.from_numpy(self.data.test.pixels[numbers]).to(device).float() / 255
        mean, std = (torch.tensor(values, device=device) for values in (self.data.mean, self.data.std))
        return ((pixels - mean) / std).permute(0, 3, 1, 2)


class Loader:
    """Networks by what the command line calls them; every data set is read once."""

    def __init__(self, root: Path, dataset: str | None = None, weights: Path | None = None):
        """`dataset` replaces the networks' own data; `weights` is a file for what is no run."""
        self.root, self.dataset, self.weights = root, dataset, weights
        self.loaded: dict[Data, Dataset] = {}

    def networks(self, name: str) -> list[Network]:
        """All that `name` stands for. Raises UsageError or GatebenchError saying what is wrong with it."""
        file, _, factory = name.partition(":")
        if Path(name).is_dir():
            return [self._run(RunFolder(folder)) for folder in _run_folders(Path(name))]
        if file.endswith(".py"):
            return [self._outside(Path(file), factory or "build")]
        if name in models.list_models():
            return [self._model(name)]
        close = nearest(name, models.list_models())
        raise UsageError(f"{name} is neither a run folder, nor a FILE.py[:FACTORY], nor a registered model.{close}")

    def rival(self, name: str, entered: list[Network]) -> Network:
        """The one network that all `entered` ones are compared with. Raises UsageError where it is several, or has other inputs."""
        self.weights = None  # they are for what is measured
        found = self.networks(name)
        if len(found) != 1:
            raise UsageError(f"--vs {name} stands for {len(found)} networks; name one.")
        for network in entered:
            if network.data is not found[0].data:
                raise UsageError(
                    f"{network.label} has inputs of {network.data.name}, {found[0].label} of {found[0].data.name}; a comparison"
                    " needs the same ones. Say which with --dataset."
                )
        return found[0]

    def _run(self, folder: RunFolder) -> Network:
        row, described = folder.read_json("summary.json"), folder.read_json("data.json")
        plan = recipe.parse(_yaml(folder / "recipe.yaml"), str(folder / "recipe.yaml"))
        if not (folder / "model.safetensors").exists():
            raise GatebenchError(f"{folder.path} has no model.safetensors: its weights were not kept. Train it again to profile it.")
        model = models.create(plan.model.name, len(described["classes"]), tuple(described["input_shape"]), **plan.model.options)
        _fill(model, folder / "model.safetensors")
        data = self._load(plan.data)
        if self.dataset is None and data.fingerprint() != described["fingerprint"]:
            raise GatebenchError(
                f"{folder.path} was trained on another {data.name} than that below {self.root}: pixels or labels differ."
                " Name the right folder with --data-dir."
            )
        if model.input_shape != data.input_shape:
            wanted, given = ("x".join(map(str, shape)) for shape in (model.input_shape, data.input_shape))
            raise UsageError(f"{folder.path} was trained on {wanted} inputs, those of {data.name} are {given}. Name a set of its size.")
        return Network(f"{row['model']} {row['recipe']} {row['dataset']} s{row['seed']}", model, data, folder, row)

    def _model(self, name: str) -> Network:
        known = models.entry(name)
        if (known.family, known.default) in recipe.available(known.family):
            plan = recipe.load(known.family, name, known.default)
            data, options = self._load(plan.data), models.resolve(plan.model).options
        else:
            data, options = self._given_data(name), {}
        return self._checked(Network(name, self._filled(models.create(name, len(data.classes), data.input_shape, **options)), data))

    def _outside(self, file: Path, factory: str) -> Network:
        data = self._given_data(str(file))
        label = file.stem if factory == "build" else f"{file.stem}:{factory}"
        return self._checked(Network(label, self._filled(build(file, factory, len(data.classes))), data))

    def _given_data(self, name: str) -> Dataset:
        """The data of --dataset, else that of what was named before."""
        if self.dataset is None and not self.loaded:
            raise UsageError(f"Say with --dataset on which inputs {name} is to be timed: a name, a folder of images or an .npz.")
        return self._load(Data(name=self.dataset)) if self.dataset else next(reversed(self.loaded.values()))

    def _checked(self, network: Network) -> Network:
        """The same network, once it has taken one input."""
        try:
            with torch.no_grad():
                network.model.eval()(network.batch(np.arange(1), torch.device("cpu")))
        except Exception as error:
            shape, reason = "x".join(map(str, network.data.input_shape)), f"{type(error).__name__}: {first_line(error)}"
            raise UsageError(f"{network.label} does not take one {shape} input of {network.data.name} ({reason}).") from error
        return network

    def _filled(self, model: nn.Module) -> nn.Module:
        if self.weights:
            _fill(model, self.weights)
        return model

    def _load(self, data: Data) -> Dataset:
        if self.dataset:
            data = data.model_copy(update={"name": self.dataset})
        if data not in self.loaded:
            self.loaded[data] = load(data, self.root)
        return self.loaded[data]


def _run_folders(path: Path) -> list[Path]:
    """The run at `path`, or the finished runs in it."""
    if (path / "recipe.yaml").exists():
        if not (path / "summary.json").exists():
            raise UsageError(f"{path} is a run that has not finished. Give the command that trains it again, and it goes on.")
        return [path]
    found = sorted(summary.parent for summary in path.glob("*/summary.json"))
    if not found:
        raise UsageError(f"There is no finished run in {path}. Train one with `gatebench train MODEL --out {path}`.")
    return found


def _yaml(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise GatebenchError(f"{path} cannot be read ({first_line(error)}). Train the run again, or name another.") from None


def _fill(model: nn.Module, path: Path) -> None:
    """Weights from .safetensors, or from a torch file with a state_dict. Raises GatebenchError where they are not the model's."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"There are no weights at {path}.") from None
    except Exception as error:  # whatever safetensors, zipfile and pickle make of a file that is none of theirs
        raise GatebenchError(f"{path} is not a file of weights ({type(error).__name__}: {first_line(error)}).") from None
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GatebenchError(f"{path} holds the weights of another network: {reason} ... Name the weights that belong to it.") from None
