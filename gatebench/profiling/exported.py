"""Networks in runtimes other than torch: cut into pieces that really skip, and run one image a call by the program that export ships.

Shapes: N calls, of one image each; H x W pixels, C channels.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel
from ..errors import GatebenchError, UsageError
from ..measure.protocol import Subject
from ..pieces import Piece, whole
from ..runs import RunFolder
from ..runtimes.bundle import run
from ..runtimes.bundle.unscored import RANGES, decided, unscored
from ..runtimes.bundle.write import PRECISIONS, Models, check_installed, converted, write
from ..runtimes.fold import folded
from ..words import counted
from .contender import Contender

TORCH = "torch"
FORMATS = {"compile": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}
"""Of the files of each other runtime; torch.compile takes the pieces themselves."""
IN = {"compile": ("fp32",), "onnxruntime": PRECISIONS["onnx"], "openvino": PRECISIONS["openvino"]}
"""Precisions of each."""
TOLERANCE = 1e-3
"""Of fp32 logits, relative to the largest."""
TURNED = 0.05
"""Share of the calls that fp32 may decide about otherwise: those that stand on a threshold fall either way."""


@dataclass(frozen=True)
class Runtime:
    """What runs a network, and in which precision."""

    name: str
    precision: str

    def __str__(self) -> str:
        """As rows name it; what is computed in fp32 says no precision."""
        return self.name if self.precision == "fp32" else f"{self.name}, {self.precision}"


def chosen(names: list[str], precisions: list[str]) -> tuple[Runtime, ...]:
    """The runtimes besides torch, each in those of the precisions that it has.

    Raises UsageError where one of them has none, or is not installed.
    """
    made = []
    for name in names:
        if name == TORCH:
            continue
        check_installed(FORMATS[name])
        made += [Runtime(name, precision) for precision in precisions if precision in IN[name]]
    for precision in precisions:
        if precision != "fp32" and not any(each.precision == precision for each in made):
            able = [name for name, kinds in IN.items() if precision in kinds]
            raise UsageError(f"--precision {precision} is for {' and '.join(able)}: give --runtime {','.join([TORCH, *able])}.")
    return tuple(made)


class Files:
    """Pieces of networks and their twins, each converted once, as folders that are there until `remove`."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="gatebench-")
        self._models: dict[int, tuple[Models, Models | None]] = {}
        self.remove = self._temporary.cleanup

    def models(self, contender: Contender) -> tuple[Models, Models | None]:
        """Those of the network, and of its twin, if it has one. Raises UsageError and GatebenchError where they cannot be made."""
        key = id(contender.network)
        if key not in self._models:
            self._models[key] = _models(contender)
        return self._models[key]

    def network(self, models: Models, runtime: Runtime, threads: int, classes: list[str]) -> run.Network:
        """Pieces opened in a runtime."""
        folder = Path(self._temporary.name) / f"{id(models)}-{FORMATS[runtime.name]}-{runtime.precision}"
        if not folder.exists():
            write(RunFolder(folder), models, FORMATS[runtime.name], runtime.precision, {"classes": classes})
        return run.Network(folder, threads, partial(_compiled, models.pieces) if runtime.name == "compile" else None)


def _models(contender: Contender) -> tuple[Models, Models | None]:
    network = contender.network
    if not isinstance(network.model, GatedModel):
        raise UsageError(f"{network.label} is no model of gatebench, and is timed in torch alone.")
    net, images = folded(network.model), torch.from_numpy(unscored(network.data, RANGES).pixels)
    own = converted(net.pieces(decided(net, network.data, *network.statistics)), *network.statistics, images)
    twin = next(iter(net.references().values()), None)
    return own, twin and converted(whole(twin, net.macs_static), *network.statistics, images)


def _compiled(pieces: Mapping[str, Piece], threads: int, precision: str) -> tuple:
    """As a runtime of `run`: torch.compile on each piece, where others open its file; with torch's own threads."""
    modules = {name.replace(" ", "-"): piece.module for name, piece in pieces.items()}

    def opened(path: Path) -> Callable:
        compiled = torch.compile(modules[path.stem], dynamic=False)
        return lambda tensors: compiled(*tensors)

    return opened, torch.from_numpy, Tensor.numpy


class Exported:
    """A contender in one runtime, with its twin; its subjects are called "RUNTIME sparse", "RUNTIME reference" and "RUNTIME all on"."""

    def __init__(self, contender: Contender, runtime: Runtime, files: Files, threads: int):
        """Raises GatebenchError where pieces cannot be made, or do not answer as the network does."""
        self.runtime, self.contender = runtime, contender
        network = contender.network
        self.images = network.data.test[contender.numbers[:, 0]].pixels
        own, twin = files.models(contender)
        self.network, self.twin = (each and files.network(each, runtime, threads, network.data.classes) for each in (own, twin))
        self.dearest = Dearest(self.network) if contender.gated and "all on" in contender.model.fixed_policies else None
        with torch.inference_mode():
            self.answers = [self.network(image) for image in self.images]
        self.macs = np.array([answer.macs for answer in self.answers], float)
        """Executed ones of each call, [N]."""
        self.findings = self._compared()

    def itself(self) -> Subject:
        """The subject that stands for the network in a comparison."""
        return self._subject("sparse" if self.contender.gated else "itself", self.network)

    def subjects(self) -> Iterator[Subject]:
        """All, without a group."""
        yield self.itself()
        if self.twin:
            yield self._subject("reference", self.twin)
        if self.dearest:
            yield self._subject("all on", self.dearest)

    def _subject(self, name: str, network: run.Network) -> Subject:
        return Subject(f"{self.runtime} {name}", lambda number: network(self.images[number]))

    def _compared(self) -> list[str]:
        """Findings on what is answered otherwise than by torch. Raises GatebenchError where fp32 does that away from a threshold."""
        contender, turned, labels = self.contender, 0, 0
        for number, answer in enumerate(self.answers):
            output = contender.output(number, "sparse")
            logits, on = output.logits[0].float().cpu().numpy(), output.decisions[0].nonzero().flatten().tolist()
            turned += answer.on != on
            labels += int(answer.logits.argmax()) != int(logits.argmax())
            apart = np.abs(answer.logits - logits).max() / max(1.0, np.abs(logits).max())
            if self.runtime.precision == "fp32" and answer.on == on and apart > TOLERANCE:
                raise GatebenchError(f"In {self.runtime}, {contender.network.label} gives other logits. Please report this network.")
        if self.runtime.precision == "fp32" and turned > TURNED * len(self.answers):
            raise GatebenchError(f"In {self.runtime}, {contender.network.label} decides otherwise. Please report this network.")
        if not turned and not labels:
            return []
        inputs = counted(len(self.answers), "timed input")
        return [f"answers otherwise than in torch: of {inputs}, {labels} get another class and {turned} are decided about otherwise"]


class Dearest(run.Network):
    """A network whose pieces decide as they do, and which then runs what costs most."""

    def __init__(self, network: run.Network):
        self.__dict__.update(vars(network))
        self.dearest, cost = {}, {}  # the pieces of the dearest way from a piece, and MACs
        for name in reversed(self.pieces):  # a piece comes before those that follow it
            steps = [[each for each in step["ways"].values() if each] for step in self.pieces[name]["next"]]
            self.dearest[name] = [max(names, key=cost.__getitem__) for names in steps]
            cost[name] = self.pieces[name]["macs"] + sum(cost[each] for each in self.dearest[name])

    def following(self, name: str, bits: str) -> list[str]:
        return list(self.dearest[name])
