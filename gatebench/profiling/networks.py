"""What a command line names to be measured: finished runs, a registered model, or a network from somebody else's file or library.

RUN is a run folder, or a folder of them; MODEL a registered name, timm:NAME or torchvision:NAME, or FILE.py[:FACTORY] whose factory
(`build` unless named) is called with the number of classes.
"""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .. import library, recipe
from ..contract import GatedModel, Prepare
from ..data.batches import Batches
from ..data.catalogue import load
from ..data.images import Dataset
from ..data.settings import Data, Shapes
from ..errors import GatebenchError, UsageError
from ..foreign import Unreadable, beside
from ..models import registry
from ..models.backbones.libraries import LIBRARIES, Built, any_network
from ..runs import RunFolder, folders_in
from ..trained import fill_from, load_run
from .outside import Make, cause, existing, maker


@dataclass
class Network:
    """A network and the real inputs that it is timed on."""

    label: str
    model: nn.Module
    data: Dataset
    folder: RunFolder | None = None
    """The run it comes from."""
    row: dict = field(default_factory=dict)
    """That run's headline row."""
    scored: bool = False
    """Whether that row scores these very inputs."""
    make: Make | None = None
    """Makes a network from elsewhere anew, with weights of its own."""
    prepare: Prepare | None = None
    """What a library wants its images to be like."""

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel that normalise its inputs: the network's own, or else those of the data."""
        prepare = self.model.prepare if isinstance(self.model, GatedModel) else self.prepare
        return (prepare.mean, prepare.std) if prepare else (self.data.mean, self.data.std)

    def batch(self, numbers: np.ndarray, device: torch.device) -> Tensor:
        """The scored inputs of these numbers, normalised and of the size that a library wants: float32 [B, C, H, W], channels_last."""
        batches = Batches(self.data.test[numbers], *self.statistics, batch_size=len(numbers), device=device)
        x = next(batches.in_order()).x
        if self.prepare and self.prepare.size != tuple(x.shape[2:]):
            x = interpolate(x, self.prepare.size, mode="bilinear", antialias=self.prepare.size[0] < x.shape[2])
        return x

    def at(self, row: dict) -> "Network":
        """The same network, deciding as another operating point of its run."""
        model = copy.deepcopy(self.model)
        model.operate(row)
        policy = f", {row['policy']}" if row.get("policy") != self.row.get("policy") else ""
        return replace(self, label=f"{self.label}{policy}, trade-off {row['tradeoff']:g}", model=model, row=row)

    def at_point(self, policy: str | None, tradeoff: float | None) -> "Network":
        """The same network at the operating point of its run that these name; None: as its headline's.

        Raises UsageError where its run has no such one, and where it comes from no run.
        """
        named = {key: value for key, value in (("policy", policy), ("tradeoff", tradeoff)) if value is not None}
        if not named:
            return self
        if not self.folder:
            raise UsageError(f"{self.label} is no run, and has no operating points to name by --policy and --tradeoff.")
        rows = [row for row in self.folder.rows() if "severity" not in row and "reference" not in row and "tradeoff" in row]
        wanted = {key: self.row.get(key) for key in ("policy", "tradeoff")} | named
        for row in rows:
            if all(row.get(key) == value for key, value in wanted.items()):
                return self.at(row) if any(row.get(key) != self.row.get(key) for key in wanted) else self
        asked = " at ".join(str(each) for each in wanted.values() if each is not None)
        had = (("policies", dict.fromkeys(row["policy"] for row in rows if "policy" in row)),
               ("trade-offs", dict.fromkeys(f"{row['tradeoff']:g}" for row in rows)))  # fmt: skip
        known = " and ".join(f"the {what} {'; '.join(each)}" for what, each in had if each)
        raise UsageError(f"{self.label} has no operating point {asked}. It has {known or 'one, which has no name: leave the option out'}.")


def with_distinct_labels(networks: list[Network]) -> list[Network]:
    """The networks; the label of runs that share one is followed by the end of their folder's name."""
    labels = [network.label for network in networks]
    return [
        replace(network, label=f"{network.label} {network.folder.path.name.rsplit('-', 1)[-1]}")
        if network.folder and labels.count(network.label) > 1
        else network
        for network in networks
    ]


class Loader:
    """Networks by what the command line calls them; every data set is read once."""

    def __init__(
        self, root: Path, dataset: str | None = None, inputs: int = 128, check_run: Callable[[RunFolder], None] = lambda folder: None
    ):
        """`root` is where data sets are; `dataset` replaces the networks' own data. `inputs` are as many as are timed at most.

        `check_run` is called with each finished run before its weights are looked for, and may refuse it.
        """
        self.root, self.dataset, self.inputs, self.check_run = root, dataset, inputs, check_run
        self.loaded: dict[Data, Dataset] = {}
        self.made: Dataset | None = None
        """What stands in where no data was named."""
        self.left_out: list[str] = []
        """Runs of a folder that cannot be timed, and why."""
        self.weights: tuple[Path, str] | None = None
        """The file of weights that a network was given, and that network's label."""
        self.notes: list[str] = []
        """How files of data and weights were read, where that has to be known."""

    def enter(self, names: list[str], weights: Path | None = None) -> list[Network]:
        """All networks that the names stand for, runs first; `weights` is a file for the one that is no run.

        A network without data of its own takes that of the first. Raises UsageError or GatebenchError.
        """
        runs = [name for name in names if os.path.isdir(name)]
        others = [name for name in names if name not in runs]
        for name in others:
            check(name)
        if weights and len(others) != 1:
            raise UsageError(f"--weights {weights} is for one network that is no run; {len(others)} were named.")
        networks = [network for name in runs for network in self._runs(Path(name))]
        for name in sorted(others, key=lambda name: name not in registry.list_models()):
            networks.append(self._other(name, weights, fallback=networks[0].data if networks else None))
        return with_distinct_labels(networks)

    def rival(self, name: str, entered: list[Network]) -> Network:
        """The one network that all `entered` ones are compared with, on their data; `check` comes before.

        Raises UsageError where that is not possible.
        """
        named = self._runs(Path(name)) if os.path.isdir(name) else [self._other(name, None, entered[0].data)]
        if len(named) != 1:
            raise UsageError(f"--vs {name} stands for {len(named)} networks; name one.")
        if self.weights and not named[0].folder:
            file, label = self.weights
            own = f"{named[0].label} has those that it was made with. Its factory may load others"
            self.notes.append(f"--weights {file} went into {label} alone; {own}.")
        for network in entered:
            if network.data is not named[0].data:
                mine, its = (f"{each.data.name} ({each.data.scored})" for each in (network, named[0]))
                raise UsageError(
                    f"{network.label} has inputs of {mine}, {named[0].label} of {its}; a comparison needs the same ones."
                    " Say which with --dataset, or compare them apart."
                )
        return named[0]

    def _runs(self, path: Path) -> list[Network]:
        """The run at `path`, or those in it that can be timed; `left_out` says what is wrong with the others."""
        if RunFolder(path).has("recipe.yaml"):
            return [self._run(RunFolder(path))]
        try:
            folders, unopened = folders_in(path, "summary.json")
        except Unreadable as error:
            raise UsageError(f"The folder {path} cannot be opened: {error}. Name one that may be read.") from None
        networks, errors = [], []
        for folder in folders:
            try:
                networks.append(self._run(folder))
            except GatebenchError as error:
                errors.append(error)
        if not folders:
            raise UsageError(f"There is no finished run in {path}. Train one with `gatebench train MODEL --out {path}`.")
        if not networks:
            raise errors[0]
        self.left_out += [*unopened, *map(str, errors)]
        return networks

    def _run(self, folder: RunFolder) -> Network:
        if not folder.finished:
            if holder := folder.holder():
                raise GatebenchError(f"{folder.path} is being written by {holder}, and has not finished. Wait for it, then time it.")
            raise UsageError(f"{folder.path} is a run that has not finished. Give the command that trains it again, and it goes on.")
        row = folder.headline()
        self.check_run(folder)
        model, own_recipe, description = load_run(folder)
        data = self._load(own_recipe.data)
        scored = self._scores(own_recipe.data, data, description["fingerprint"])
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
            return data.fingerprint == fingerprint
        if self.dataset != own.name:
            return False
        trained_on = load(own, self.root)  # with its validation part, which --dataset leaves in train
        same = np.array_equal(trained_on.test.pixels, data.test.pixels) and np.array_equal(trained_on.test.labels, data.test.labels)
        return same and trained_on.fingerprint == fingerprint

    def _other(self, name: str, weights: Path | None, data: Dataset | None = None, fallback: Dataset | None = None) -> Network:
        """A network that is no run: on `data`, else on its own, else on `fallback`."""
        file, factory = _file_and_factory(name)
        if name.partition(":")[0] in LIBRARIES:
            network = self._library(name, data or fallback)
        elif file:
            network = self._outside(Path(file), factory, self._given(data or fallback, name))
        else:
            network = self._model(name, data, fallback)
        if weights:
            self.notes += fill_from(network.model, weights)
            self.weights = weights, network.label
        elif name in registry.list_models() and isinstance(network.model, GatedModel) and network.model.units:
            network.label += " (untrained)"
        return network

    def _model(self, name: str, data: Dataset | None, fallback: Dataset | None) -> Network:
        """A registered model as its default recipe builds it."""
        entry, options = registry.entry(name), {}
        if (entry.recipes, entry.default) in library.available(entry.recipes):
            default = recipe.load(entry.recipes, name, entry.default)
            options, data = default.model.options, data or self._load(default.data)
        data = data or self._given(fallback, name)

        def make() -> nn.Module:
            return registry.create(name, len(data.classes), data.input_shape, **options)

        return Network(name, make(), data, make=make)

    def _outside(self, file: Path, factory: str, data: Dataset) -> Network:
        label = file.stem if factory == "build" else f"{file.stem}:{factory}"
        make = maker(file, factory, len(data.classes))
        return Network(label, make(), data, make=make)

    def _library(self, name: str, data: Dataset | None) -> Network:
        """A network of timm or torchvision, on images of its own size where it takes no others, or where there is no data for it."""
        library, _, network = name.partition(":")
        data = data or (self._load(Data(name=self.dataset)) if self.dataset else self._made())
        own_head = data is self.made
        channels, *shape = data.input_shape

        def build() -> Built:
            return any_network(library, network, None if own_head else len(data.classes), channels)

        try:
            model, statistics, side = build()
            size = (side, side) if own_head or not _takes(model, data.input_shape) else tuple(shape)
        except GatebenchError:
            raise
        except Exception as error:
            raise GatebenchError(f"{name} cannot be built for these images and classes ({cause(error)}).") from error
        if size != tuple(shape):
            scaled = f"{shape[0]}x{shape[1]} images of {data.name} were scaled to {side}x{side}, before they were timed"
            self.notes.append(f"{name}: {scaled}." + " --dataset names others." * own_head)
        mean, std = statistics if channels == 3 else (data.mean, data.std)
        return Network(name, model, data, make=lambda: build()[0], prepare=Prepare(size, mean, std))

    def _made(self) -> Dataset:
        """Images for networks that no data was named for."""
        if self.made is None:
            shapes = Shapes(image_size=64, train=64, test=max(64, self.inputs))
            self.made = load(Data(name="shapes", shapes=shapes), self.root)
        return self.made

    def _given(self, data: Dataset | None, name: str) -> Dataset:
        """The data of --dataset, else that of the other networks."""
        if self.dataset is None and (data is None or data is self.made):
            raise UsageError(f"Say with --dataset on which inputs {name} is to be timed: a name, a folder of images, an .npz or a .pt.")
        return data or self._load(Data(name=self.dataset))

    def _load(self, data: Data) -> Dataset:
        """The data set; the same object for all settings that give the same pixels."""
        given = {"name": self.dataset, "validation": 0, "scored": "test"} if self.dataset else {}
        data = data.model_copy(update={"augment": Data().augment, **given})
        if data not in self.loaded:
            self.loaded[data] = dataset = load(data, self.root)
            self.notes += [f"{dataset.name}: {note}" for note in dataset.notes]
        return self.loaded[data]


def check(name: str) -> None:
    """Raises UsageError where a name stands for no run, network or file: known before data are read."""
    file, _ = _file_and_factory(name)
    if file:
        existing(Path(file))
    elif os.path.isfile(name):
        raise UsageError(f"{name} is not a Python file. Name one whose function makes the network, as FILE.py:FACTORY.")
    elif not (os.path.isdir(name) or name.partition(":")[0] in LIBRARIES or name in registry.list_models()):
        close = beside(Path(name), registry.list_models())
        kinds = "a run folder, nor a FILE.py[:FACTORY], nor timm:NAME or torchvision:NAME, nor a registered model"
        raise UsageError(f"{name} is neither {kinds}.{close}")


def _file_and_factory(name: str) -> tuple[str, str]:
    """Of FILE.py[:FACTORY]; an empty file's name where it is none."""
    file, _, factory = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    return (file, factory or "build") if file.endswith(".py") else ("", "")


def _takes(model: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether a library's network takes images of that shape [C, H, W]."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape))
    except Exception:  # whatever it makes of another size
        return False
    return True
