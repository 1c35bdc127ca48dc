"""A network made ready to be timed, and everything of it that is timed.

Shapes: N calls, B inputs a call, S switches, U units.
"""

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from ..contract import Execution, GatedModel, Output
from ..errors import GatebenchError, UsageError, first_line
from ..execution.fold import channels_last, folded, same_answers
from ..execution.graphs import Graph
from .networks import Network

Work = Callable[[int], object]
"""Takes the number of a call."""


class Contender:
    """A network on the device with batch norm folded, its calls prepared, its decisions and MACs known.

    `numbers` [N, B] are the inputs of each call. What it gives to be timed are its subjects, by name: `twin`, one for each
    execution, `imposed` (its own decisions, not asked for), its fixed policies (gates asked, always the same answer), and `random`
    (random decisions imposed). A network that decides nothing, or in a way of its own, has one subject, `itself`.
    """

    runtime = "torch"

    def __init__(self, network: Network, numbers: np.ndarray, device: torch.device, draw: np.random.Generator):
        """Raises UsageError where the network does not take the inputs, GatebenchError where its answers are no logits."""
        self.network, self.numbers = network, numbers
        self.calls = [network.batch(each, device) for each in numbers]
        self.model, self.folded = _ready(network, self.calls, device)
        self.gated = isinstance(self.model, GatedModel) and bool(self.model.units)
        self.forward = self.model.infer if isinstance(self.model, GatedModel) else self.model
        if device.type == "cuda" and len(self.calls[0]) == 1:
            self._record()
        if self.gated:
            with torch.inference_mode():
                self.twin = self.model.twin()
            self.random = [self.model.random_decisions(len(x), draw).to(device) for x in self.calls]
            self.own = self.outputs("sparse")

    def subjects(self, executions: tuple[Execution, ...]) -> Iterator[tuple[str, Work]]:
        """Name and work of each subject."""
        yield self.itself()
        if not self.gated:
            return
        model, calls = self.model, self.calls
        decisions = [model.needed(output.decisions) for output in self.own]
        if self.twin:
            yield "twin", lambda number: self.twin(calls[number])
        if "masked" in executions:
            yield "masked", lambda number: model.infer(calls[number], "masked")
        yield "imposed", lambda number: model.infer(calls[number], decisions=decisions[number])
        for name, policy in model.fixed_policies.items():
            yield name, lambda number, policy=policy: model.infer(calls[number], policy=policy)
        yield "random", lambda number: model.infer(calls[number], decisions=self.random[number])

    def itself(self) -> tuple[str, Work]:
        """The subject that stands for the network in a comparison."""
        if self.gated:
            return "sparse", lambda number: self.model.infer(self.calls[number], "sparse")
        return "itself", lambda number: self.forward(self.calls[number])

    def _record(self) -> None:
        """CUDA graphs, where the network can be recorded; a static one of gatebench's own always can."""
        with torch.inference_mode():
            recorded = self.model.recorded(self.calls[0]) if self.gated else None
            if recorded:
                self.model, self.runtime = recorded, "torch, CUDA graphs"
            elif isinstance(self.model, GatedModel) and not self.gated:
                self.forward, self.runtime = Graph(self.model.infer, self.calls[0]), "torch, CUDA graphs"

    def outputs(self, execution: Execution) -> list[Output]:
        """What the gated network gives for every call."""
        with torch.inference_mode():
            return [detached(self.model.infer(x, execution)) for x in self.calls]

    def macs(self, outputs: list[Output]) -> np.ndarray:
        """Executed MACs of an input, mean of each call, [N]."""
        return np.array([self.model.macs(output.executed.float().cpu().numpy()).mean() for output in outputs])

    def own_macs(self) -> np.ndarray:
        """As `macs`, of the network as `itself` runs it; without units, by torch's counter on what really runs."""
        if self.gated:
            return self.macs(self.own)
        counted = []
        for x in self.calls:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                self.model.infer(x) if isinstance(self.model, GatedModel) else self.model(x)
            counted.append(counter.get_total_flops() / 2 / len(x))
        return np.array(counted)

    def shares(self, decisions: list[Tensor]) -> np.ndarray:
        """Share of each unit that is on, mean of each call, [N, U]."""
        return np.stack([self.model.fractions(each.cpu().numpy()).mean(0) for each in decisions])


def detached(output: Output) -> Output:
    """A copy that a later replay of a CUDA graph does not overwrite."""
    return Output(output.logits.clone(), decisions=output.decisions.clone(), executed=output.executed.clone())


def _ready(network: Network, calls: list[Tensor], device: torch.device) -> tuple[nn.Module, bool]:
    """A copy for inference on the device, and whether its batch norm is folded: not where that fails or changes what it says."""
    try:
        plain = copy.deepcopy(network.model).eval()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise GatebenchError(f"{network.label} cannot be copied by copy.deepcopy ({reason}), which folding its norms needs.") from error
    try:
        if any(map(is_lazy, plain.parameters())):
            with torch.no_grad():
                plain(calls[0].cpu())  # from which such layers take their shapes
        channels_last(plain.to(device))
        copies = [x.clone() for x in calls]
        with torch.inference_mode():
            before = [_answers(plain, x) for x in copies]
    except Exception as error:
        count, shape = len(calls[0]), "x".join(map(str, network.data.input_shape))
        inputs = f"one {shape} input" if count == 1 else f"{count} {shape} inputs at once"
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{network.label} does not take {inputs} of {network.data.name} ({reason}).") from error
    if any(tensor is None for tensor, *_ in before):
        raise GatebenchError(f"{network.label} gives no tensor of logits, nor a tuple that starts with one, nor anything with `logits`.")
    if any(answer.isnan().any() for answers in before for answer in answers):
        raise GatebenchError(f"{network.label} answers with NaN: its weights are damaged, or its training diverged. Name others.")
    if not all(map(torch.equal, copies, calls)):
        raise UsageError(f"{network.label} writes to its input, so every call would see another one. Begin its forward with x = x.clone().")
    try:
        candidate = folded(plain)
        with torch.inference_mode():
            same = all(
                same_answers(first, second)
                for x, answers in zip(calls, before, strict=True)
                for first, second in zip(answers, _answers(candidate, x), strict=True)
            )
    except Exception:  # a network from elsewhere may be built in a way that folding does not foresee
        same = False
    return (candidate, True) if same else (plain, False)


def _answers(model: nn.Module, x: Tensor) -> list[Tensor | None]:
    """What a network answers; of a gated one with everything on, its gates and exits apart: a decision may turn on the last digit."""
    if not isinstance(model, GatedModel):
        return [_logits(model(x))]
    if not model.units:
        return [model.infer(x).logits]
    everything = torch.ones(len(x), model.switches, dtype=torch.bool, device=x.device)
    asked = model.infer(x, "masked", policy=model.fixed_policies.get("all on"))
    return [model.infer(x, decisions=everything).logits, *(each for each in (asked.gates, asked.exits) if each is not None)]


def _logits(answer) -> Tensor | None:
    """The logits among whatever a network returns: a tensor, or the first or the `logits` of a collection."""
    by_name = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    for found in (answer, by_name, answer[0] if isinstance(answer, (tuple, list)) and answer else None):
        if isinstance(found, Tensor):
            return found
    return None
