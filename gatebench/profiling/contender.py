"""A network made ready to be timed, and everything of it that is timed.

Shapes: N calls, B inputs a call, S switches, U units.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..contract import Execution, GatedModel, Output
from ..evaluation.outcome import by_unit
from ..execution.fold import folded, same_answers
from ..execution.graphs import Graph, GraphedBlocks
from ..models.block_gated import BlockGatedResNet
from .networks import Network


class Contender:
    """A network on the device with batch norm folded, its calls prepared, its decisions and MACs known.

    `numbers` [N, B] are the inputs of each call. What it gives to be timed are its subjects, by name: `twin`, one for each
    execution, `imposed` (its own decisions, not asked for), its fixed policies (gates asked, always the same answer), and `random`
    (random decisions imposed). A network that decides nothing, or in a way of its own, has one subject, `itself`.
    """

    def __init__(self, network: Network, numbers: np.ndarray, device: torch.device, draw: np.random.Generator):
        self.network, self.numbers = network, numbers
        self.calls = [network.batch(each, device) for each in numbers]
        self.model = ready(network.model, self.calls[0][:1].cpu()).to(device)
        self.gated = isinstance(self.model, GatedModel) and bool(self.model.units)
        self.forward = self.model.infer if isinstance(self.model, GatedModel) else self.model
        if device.type == "cuda" and len(self.calls[0]) == 1:
            self._record()
        if self.gated:
            self.twin = self.model.twin()
            self.random = [_random_decisions(len(x), self.model.switches, draw).to(device) for x in self.calls]
            self.own = self.outputs("sparse")

    def subjects(self, executions: tuple[Execution, ...]) -> Iterator[tuple[str, Callable[[int], object]]]:
        """Name and work of each subject; the work takes the number of a call."""
        model, calls = self.model, self.calls
        if not self.gated:
            yield "itself", lambda number: self.forward(calls[number])
            return
        decisions = [output.decisions for output in self.own]
        yield "twin", lambda number: self.twin(calls[number])
        for execution in executions:
            yield execution, lambda number, execution=execution: model.infer(calls[number], execution)
        yield "imposed", lambda number: model.infer(calls[number], decisions=decisions[number])
        for name, policy in model.fixed_policies.items():
            yield name, lambda number, policy=policy: model.infer(calls[number], policy=policy)
        yield "random", lambda number: model.infer(calls[number], decisions=self.random[number])

    def _record(self) -> None:
        """CUDA graphs, where the network's control flow is known: block gates and static networks of gatebench's own."""
        with torch.inference_mode():
            if isinstance(self.model, BlockGatedResNet):
                self.model = GraphedBlocks(self.model, self.calls[0])
            elif isinstance(self.model, GatedModel) and not self.gated:
                self.forward = Graph(self.model.infer, self.calls[0])

    def outputs(self, execution: Execution) -> list[Output]:
        """What the gated network gives for every call."""
        with torch.inference_mode():
            return [detached(self.model.infer(x, execution)) for x in self.calls]

    def macs(self, outputs: list[Output]) -> np.ndarray:
        """Executed MACs of an input, mean of each call, [N]."""
        return np.array([self.model.macs(output.executed.float().cpu().numpy()).mean() for output in outputs])

    def counted_macs(self) -> np.ndarray:
        """MACs of an input by torch's counter on what really runs, mean of each call, [N]; for a network without units."""
        counted = []
        for x in self.calls:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                self.model(x)
            counted.append(counter.get_total_flops() / 2 / len(x))
        return np.array(counted)

    def shares(self, decisions: list[Tensor]) -> np.ndarray:
        """Share of each unit that is on, mean of each call, [N, U]."""
        return np.stack([by_unit(each.cpu().numpy(), self.model.units).mean(0) for each in decisions])


def detached(output: Output) -> Output:
    """A copy that a later replay of a CUDA graph does not overwrite."""
    return Output(output.logits.clone(), decisions=output.decisions.clone(), executed=output.executed.clone())


def ready(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy for inference with batch norm folded, or, where that changes what the network says of `example`, not folded."""
    plain = model.eval()
    candidate = folded(model)
    with torch.inference_mode():
        before, after = (_logits(each(example)) for each in (_forward(plain), _forward(candidate)))
    if before is not None and same_answers(before, after):
        return candidate
    return plain.to(memory_format=torch.channels_last)


def _forward(model: nn.Module) -> Callable:
    return model.infer if isinstance(model, GatedModel) else model


def _logits(answer) -> Tensor | None:
    """The logits among whatever a network returns: a tensor, or the first or the `logits` of a collection."""
    for found in (answer, getattr(answer, "logits", None), answer[0] if isinstance(answer, (tuple, list)) and answer else None):
        if isinstance(found, Tensor):
            return found
    return None


def _random_decisions(count: int, switches: int, draw: np.random.Generator) -> Tensor:
    """[B, S], on with a probability that is itself drawn, so that the calls differ in how much runs, whatever their size."""
    return torch.from_numpy(draw.random((count, switches)) < draw.random())
