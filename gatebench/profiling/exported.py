"""Networks in runtimes other than torch: models that really skip, run one image a call by the program that export ships.

Shapes: N calls, of one image each; H x W pixels, C channels.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..contract import GatedModel, Output
from ..errors import UsageError
from ..measure.protocol import Subject
from ..pieces import APART, TOGETHER, Piece, whole
from ..runs import RunFolder
from ..runtimes.bundle import run
from ..runtimes.bundle.compare import Compared
from ..runtimes.bundle.openvino import has_bf16
from ..runtimes.bundle.unscored import cut, ranging
from ..runtimes.bundle.write import PRECISIONS, Models, check_installed, converted, raw, write
from ..runtimes.compiled import Compiled, check_version
from ..runtimes.fold import folded
from ..words import counted
from .contender import Contender
from .networks import Network

TORCH = "torch"
FORMATS = {"onnxruntime": "onnx", "openvino": "openvino"}
"""Formats that runtimes read; torch.compile takes the pieces themselves."""
IN = {"compile": ("fp32",), "onnxruntime": PRECISIONS["onnx"], "openvino": PRECISIONS["openvino"]}
"""Precisions of each."""
TOLERANCE = 1e-3
"""Of fp32 logits, relative to the largest."""
TURNED = 0.02
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

    Raises UsageError where one of them has none, or is not installed, or the processor has no such precision.
    """
    made = []
    for name in names:
        if name == TORCH:
            continue
        if name == "compile":
            check_version()
        else:
            check_installed(FORMATS[name])
        made += [Runtime(name, precision) for precision in precisions if precision in IN[name]]
    for precision in precisions:
        if precision != "fp32" and not any(each.precision == precision for each in made):
            able = [name for name, kinds in IN.items() if precision in kinds]
            raise UsageError(f"--precision {precision} is for {' and '.join(able)}: give --runtime {','.join([TORCH, *able])}.")
    if any(each.precision == "bf16" for each in made) and not has_bf16():
        raise UsageError("This processor does not compute in bf16, and OpenVINO would take fp32 instead. Leave out --precision bf16.")
    return tuple(made)


class Files:
    """Networks and their twins, converted once, as folders that are there until `remove`."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="gatebench-")
        self._pieces: dict[tuple[int, int], tuple[Mapping[str, Piece], Mapping[str, Piece] | None]] = {}
        self._models: dict[tuple, Models] = {}
        self.remove = self._temporary.cleanup

    def models(self, contender: Contender, runtime: Runtime) -> tuple[Models, Models | None]:
        """Those of the network, and of its twin, if it has one. Raises UsageError and GatebenchError where they cannot be made."""
        network, most = contender.network, TOGETHER if runtime.name == "compile" else APART
        if not isinstance(network.model, GatedModel):
            raise UsageError(f"{network.label} is no model of gatebench, and is timed in torch alone.")
        if (id(network), most) not in self._pieces:
            net = folded(network.model)
            own = cut(net, network.data, *network.statistics, most)
            twin = next(iter(net.references().values()), None)
            self._pieces[id(network), most] = own, twin and whole(twin, net.macs_static)
        make, (own, twin) = raw if runtime.name == "compile" else converted, self._pieces[id(network), most]
        return self._made(network, "own", own, make), twin and self._made(network, "twin", twin, make)

    def _made(self, network: Network, role: str, pieces: Mapping[str, Piece], make: Callable[..., Models]) -> Models:
        """The models of a network's own pieces, or its twin's."""
        key = id(network), role, make
        if key not in self._models:
            self._models[key] = make(pieces, *network.statistics, ranging(network.data))
        return self._models[key]

    def network(self, models: Models, runtime: Runtime, threads: int, said: Mapping[str, Any], all_on: bool = False) -> Callable:
        """Models opened in a runtime: an image [H, W, C] -> `run.Answer`; `said` are `classes` and `switches`."""
        if runtime.name == "compile":
            return Compiled(models.pieces, said["classes"], all_on)
        format_ = FORMATS[runtime.name]
        folder = Path(self._temporary.name) / f"{id(models)}-{format_}-{runtime.precision}{'-all-on' if all_on else ''}"
        if not folder.exists():
            write(RunFolder(folder), models, format_, runtime.precision, said, all_on)
        return run.Network(folder, threads)


class Exported:
    """A contender in one runtime, with its twin; its subjects are called "RUNTIME sparse", "RUNTIME reference" and "RUNTIME all on"."""

    def __init__(self, contender: Contender, runtime: Runtime, files: Files, threads: int):
        """Raises GatebenchError where pieces cannot be made, or do not answer as the network does."""
        self.runtime, self.contender = runtime, contender
        network = contender.network
        self.images = network.data.test[contender.numbers[:, 0]].pixels
        own, twin = files.models(contender, runtime)
        said = {"classes": network.data.classes, "switches": [unit.name for unit in network.model.units]}
        self.network, self.twin = (
            each and files.network(each, runtime, threads, said | {"switches": names})
            for each, names in ((own, said["switches"]), (twin, []))
        )
        forced = contender.gated and "all on" in contender.model.fixed_policies
        self.all_on = files.network(own, runtime, threads, said, all_on=True) if forced else None
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
        if self.all_on:
            yield self._subject("all on", self.all_on)

    def _subject(self, name: str, network: Callable) -> Subject:
        return Subject(f"{self.runtime} {name}", lambda number: network(self.images[number]))

    def _compared(self) -> list[str]:
        """Findings on what is answered otherwise than by torch. Raises GatebenchError where fp32 does that away from a threshold."""
        compared = Compared(f"{self.contender.network.label} in {self.runtime}")
        for number, answer in enumerate(self.answers):
            compared.add(answer, self.contender.output(number, "sparse"))
        if self.runtime.precision == "fp32":
            compared.check(TOLERANCE, TURNED)
            self._check_fixed()
        if not compared.turned and not compared.relabelled:
            return []
        otherwise = f"{compared.relabelled} get another class and {compared.turned} are decided about otherwise"
        return [f"answers otherwise than in torch: of {counted(compared.images, 'timed input')}, {otherwise}"]

    @torch.inference_mode()
    def _check_fixed(self) -> None:
        """Twin and network with all on, on the first image. Raises GatebenchError where they do not answer as in torch."""
        label, model, x = self.contender.network.label, self.contender.model, self.contender.calls[0]
        if self.twin:
            logits = next(iter(model.references().values()))(x)
            wanted = Output(logits, decisions=x.new_zeros(1, 0, dtype=torch.bool), count=lambda: x.new_full((1, 1), model.macs_static))
            Compared(f"{label}'s static twin in {self.runtime}").one(self.twin(self.images[0]), wanted, TOLERANCE)
        if self.all_on:
            on = model.most()[None].to(x.device)
            wanted = Output(model.infer(x, decisions=on).logits, decisions=on, count=lambda: model.tally(on))
            Compared(f"{label} with all on in {self.runtime}").one(self.all_on(self.images[0]), wanted, TOLERANCE)
