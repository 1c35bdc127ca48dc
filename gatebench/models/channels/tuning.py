"""How a copy for inference runs its layers, chosen by measurement on the machine that it will be timed on.

One input that decides has a kernel chosen for each layer, by how much of it is on; inputs whose decisions differ have a way to run
them together.
The network is run with every candidate in all of its layers, and each layer is timed: with the caches as they are in use.
Decisions that all inputs share are cut once, in the fastest layout; so is the static twin.
Shapes: N inputs, C channels, S channels of all layers.
"""

import copy
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import WAYS, Batched, LayerWay
from .cuts import LAYOUTS, conv_and_norm
from .engines import Deciding, Fixed, Narrow, PartialMap, numbers
from .kernels import NAMES, Kernel, kernels
from .layouts import Twin, best_split, choose_layouts, everything
from .timed import AROUND, Timed, fastest, layer_times, preferred

if TYPE_CHECKING:
    from .network import ChannelGated

STEPS = 16
"""Densities that are told apart; those between two are taken for the higher one."""
MEASURED = 2, 4, 6, 8, 12, 14, 16
"""Of them, those that are measured; the last with one channel of each layer off."""
SHARES = np.arange(STEPS + 1) / STEPS


class KernelTable:
    """The fastest kernel of a layer for every share of channels held and filters active."""

    def __init__(self, conv: nn.Conv2d, times: Mapping[Kernel, Mapping[float, Sequence[float]]]):
        """`times` are seconds by the share of the layer's MACs that a kernel computes; between the measured ones a line is drawn."""
        self.inputs, self.filters = conv.in_channels, conv.out_channels
        held, active = np.meshgrid(SHARES, SHARES, indexing="ij")
        seconds = np.stack([_seconds(kernel, times[kernel], held, active) for kernel in times])
        found = list(times)
        self.table = [[found[number] for number in row] for row in seconds.argmin(0)]
        self.seconds = float(seconds.min(0).diagonal()[1:].sum())
        """Over all densities of channels and filters."""
        for step in range(STEPS + 1):  # slicing is the only one that can do without any channel
            self.table[0][step] = self.table[step][0] = found[0]

    def kernel(self, held: int, active: int) -> Kernel:
        """For so many channels and filters."""
        return self.table[_step(held, self.inputs)][_step(active, self.filters)]


def _seconds(kernel: Kernel, times: Mapping[float, Sequence[float]], held: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Of a kernel for these shares of channels held and filters active."""
    measured = sorted(times)
    means = [statistics.mean(times[share]) for share in measured]
    return (1 if kernel.whole else AROUND) * np.interp(np.broadcast_to(kernel.share(held, active), held.shape), measured, means)


def _step(count: int, of: int) -> int:
    return -(-STEPS * count // of)


class OneInput(Narrow, Deciding):
    """One input that decides: each layer runs the kernel that is fastest for so many channels."""

    def __init__(self, net: "ChannelGated", inference: str, imposed: Tensor | None, choices: Mapping[nn.Conv2d, KernelTable]):
        """`imposed` are decisions [1, S]."""
        super().__init__(net, inference, imposed)
        self.choices = choices
        self.shares: dict[nn.Module, float] = {}

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        return self.compute(layer[0], part, *self.decide(index, part))

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        return self.compute(shortcut[0], part, None, None)

    def compute(self, conv: nn.Conv2d, part: PartialMap, on: Tensor | None, scale: Tensor | None) -> PartialMap:
        """The output of a layer whose filters are `on` and scaled, [1, C] each; None: all are, or they are not."""
        active = None if on is None else numbers(on[0])
        held, filters = part.active, conv.out_channels if active is None else active.shape[0]
        kernel = self.kernel(conv, part, filters)
        self.shares[conv] = kernel.share(held / conv.in_channels, filters / conv.out_channels)
        x = part.spread(conv.in_channels) if kernel.whole else part.held()
        x = x if kernel.layout is None else x.contiguous(memory_format=LAYOUTS[kernel.layout])
        result = PartialMap(kernel(x, part.channels, active), active)
        if result.whole and active is not None:
            factors = on if scale is None else on * scale
        else:
            factors = scale if scale is None or active is None else scale[:, active]
        return result if factors is None else result._replace(x=result.x.mul_(factors.view(1, -1, 1, 1)))

    def kernel(self, conv: nn.Conv2d, part: PartialMap, filters: int) -> Kernel:
        """What computes so many filters of a layer."""
        return self.choices[conv].kernel(part.active, filters)

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        self.shares[head] = 1.0 if part.whole else part.active / head.in_features
        return super().classify(part, head)

    def share(self, module: nn.Conv2d | nn.Linear) -> float:
        """Share of a layer's MACs that was executed."""
        return self.shares[module]


class Tuned:
    """Gives the engines of calls with as many inputs as it was made with."""

    def __init__(self, net: "ChannelGated", x: Tensor):
        """`net` is folded, and its weights do not change any more; x [N, C, H, W] is on its device. Raises ValueError if not folded."""
        if any(conv_and_norm(layer)[1] is not None for layer in net.gated_layers()):
            raise ValueError("a network is tuned once its norms are folded; give `runtimes.fold.folded(net)`")
        self.inputs, self.of_input = len(x), net.of_input
        self.names = {module: name for name, module, _ in net.weighted_layers()}
        self.last: tuple[str, Tensor | None, Fixed] | None = None
        self.chosen: dict[nn.Conv2d, KernelTable] | dict[nn.Conv2d, LayerWay] | dict[nn.Conv2d, str]
        with torch.inference_mode():
            self.twin = Twin(net, choose_layouts(net, x, "hard", everything(net)))
            if net.of_input:
                self.chosen = _kernels(net, x, self.twin) if len(x) == 1 else _ways(net, x)
            elif all(active is None for active in Fixed(net, net.policy, None).active):  # the twin's work, so the twin's layouts
                self.chosen = self.twin.engine.layouts
            else:
                self.chosen = choose_layouts(net, x, net.policy, None)

    def engine(self, net: "ChannelGated", inference: str, imposed: Tensor | None) -> Fixed | OneInput | Batched:
        """For the network's own decisions, or the imposed ones [N, S]; [1, S] where the inputs share them."""
        if net.of_input:
            return (OneInput if self.inputs == 1 else Batched)(net, inference, imposed, self.chosen)
        if self.last is None or not self._same(inference, imposed):
            kept = None if imposed is None else imposed.clone()
            self.last = inference, kept, Fixed(net, inference, kept, self.chosen)
        return self.last[2]

    def _same(self, inference: str, imposed: Tensor | None) -> bool:
        before, decisions, _ = self.last
        if imposed is None or decisions is None:
            return before == inference and imposed is decisions
        return before == inference and torch.equal(imposed, decisions)

    def record(self) -> dict[str, Any]:
        """What was chosen for each layer: its layout, its way and layout, or a kernel for every density of channels and filters;
        and the layouts of the static twin."""
        layers = {self.names[conv]: _described(choice) for conv, choice in self.chosen.items()}
        densities = {"densities": [step / STEPS for step in range(1, STEPS + 1)]} if self.inputs == 1 and self.of_input else {}
        twin = {self.names[conv]: layout for conv, layout in self.twin.engine.layouts.items()}
        return {"inputs": self.inputs, **densities, "layers": layers, "static twin": twin}


def _described(choice: KernelTable | LayerWay | str) -> list[str] | str:
    if isinstance(choice, KernelTable):
        return [choice.table[step][step].name for step in range(1, STEPS + 1)]
    return f"{choice.way}, {choice.layout}" if isinstance(choice, LayerWay) else choice


class _TimedBatched(Timed, Batched):
    pass


class _TimedKernel(Timed, OneInput):
    """Runs the kernel of one name wherever there is one, else slices. `kernels` are those of each layer, added to when it is first run."""

    def __init__(self, net: "ChannelGated", imposed: Tensor, name: str, kernels: dict[nn.Conv2d, dict[str, Kernel]]):
        super().__init__(net, "hard", imposed, {})
        self.name, self.kernels = name, kernels

    def kernel(self, conv: nn.Conv2d, part: PartialMap, filters: int) -> Kernel:
        if conv not in self.kernels:
            self.kernels[conv] = {each.name: each for each in kernels(conv, part.x.shape[2:])}
        return self.kernels[conv].get(self.name, next(iter(self.kernels[conv].values())))


def _ways(net: "ChannelGated", x: Tensor) -> dict[nn.Conv2d, LayerWay]:
    """The way of each layer and its layout, for the decisions that the network takes on these inputs."""
    convs = [module for _, module, _ in net.weighted_layers()[:-1]]
    laid_out = {layout: [copy.deepcopy(conv).to(memory_format=form) for conv in convs] for layout, form in LAYOUTS.items()}
    every = {
        (way, layout): {conv: LayerWay(way, layout, each) for conv, each in zip(convs, copies, strict=True)}
        for layout, copies in laid_out.items()
        for way in WAYS
    }
    measured = layer_times(net, x, {key: partial(_TimedBatched, net, net.policy, None, ways) for key, ways in every.items()})
    best, seconds = {}, {}
    for layout in LAYOUTS:
        times = {conv: {way: measured[way, layout][1][conv] for way in WAYS} for conv in convs}
        chosen = {conv: preferred("dense", each) for conv, each in times.items()}
        best[layout] = {conv: every[way, layout][conv] for conv, way in chosen.items()}
        seconds[layout] = [times[conv][way] for conv, way in chosen.items()]
    best["split"] = {conv: best[layout][conv] for conv, layout in zip(convs, best_split(seconds), strict=True)}
    return best[fastest(net, x, {name: partial(Batched, net, net.policy, None, ways) for name, ways in best.items()})]


def _kernels(net: "ChannelGated", x: Tensor, twin: Twin) -> dict[nn.Conv2d, KernelTable]:
    """The kernels of each layer, measured on random decisions at several densities."""
    found: dict[nn.Conv2d, dict[str, Kernel]] = {}
    decisions = [_random(net.widths, step / STEPS).to(x.device) for step in MEASURED]
    makes = {(name, index): partial(_TimedKernel, net, imposed, name, found) for name in NAMES for index, imposed in enumerate(decisions)}
    times = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for (name, _), (engine, seconds) in layer_times(net, x, makes, twin).items():
        for conv, each in seconds.items():
            if name in found[conv]:
                times[conv][found[conv][name]][engine.shares[conv]].append(each)
    tables, layout = {}, "contiguous"
    for conv, each in times.items():
        candidates = {
            key: KernelTable(conv, {kernel: values for kernel, values in each.items() if kernel.layout in (key, None)}) for key in LAYOUTS
        }
        layout = preferred(layout, {key: table.seconds for key, table in candidates.items()})
        tables[conv] = candidates[layout]
    return tables


def _random(widths: Sequence[int], density: float) -> Tensor:
    """Decisions [1, S] with this share of each layer on, and one channel off at least."""
    draw = torch.Generator().manual_seed(0)
    counts = [max(1, min(width - 1, round(density * width))) for width in widths]
    return torch.cat([torch.randperm(width, generator=draw) < count for width, count in zip(widths, counts, strict=True)])[None]
