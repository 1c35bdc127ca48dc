"""A network made ready to be timed, and everything of it that is timed.

Shapes: N calls, B inputs a call, S switches, U units.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..contract import Execution, GatedModel, Output
from ..measure.protocol import Subject
from ..runtimes.graphs import Graph, Recorder
from .networks import Network
from .ready import ready

Work = Callable[[], object]


class Contender:
    """A network on the device with batch norm folded, its calls prepared, its decisions and MACs counted.

    `numbers` [N, B] are the inputs of each call. Its subjects, by name: one for each execution; `reference`, what a user would run
    instead; `imposed`, its own decisions without evaluating the gates; each of its fixed policies, under which the gates are evaluated and
    always give the same; `random`, random decisions imposed; and `probe NAME` for each of its probes. A network without units has one
    subject, `itself`.
    """

    runtime = "torch"

    def __init__(self, network: Network, numbers: np.ndarray, device: torch.device, draw: np.random.Generator):
        """Raises UsageError where the network does not take the inputs, GatebenchError where its answers are no logits."""
        self.network, self.numbers = network, numbers
        self.calls = [network.batch(each, device) for each in numbers]
        self.gated = isinstance(network.model, GatedModel) and bool(network.model.units)
        self.random = [network.model.random_decisions(len(x), draw).to(device) for x in self.calls] if self.gated else []
        self.model, self.folded, self.chosen = ready(network, self.calls, self.random, device)
        self.forward = self.model.infer if isinstance(self.model, GatedModel) else self.model
        if device.type == "cuda" and len(self.calls[0]) == 1:
            self._record()
        if self.gated:
            with torch.inference_mode():
                self.reference_name, self.reference = next(iter(self.model.references().items()), (None, None))
            self.own = self.outputs("sparse")
            self.probes = self._probes()
            self.parts = [f"probe {name}" for name, probe in self.model.probes().items() if probe.part]

    def subjects(self, executions: tuple[Execution, ...]) -> Iterator[Subject]:
        """All subjects, without a group."""
        yield self.itself()
        if not self.gated:
            return
        model, calls = self.model, self.calls
        decisions = [model.needed(output.decisions) for output in self.own]
        if self.reference is not None:
            yield Subject("reference", lambda number: self.reference(calls[number]))
        if "masked" in executions:
            yield Subject("masked", lambda number: model.infer(calls[number], "masked"))
        yield Subject("imposed", lambda number: model.infer(calls[number], decisions=decisions[number]))
        for name, policy in model.fixed_policies.items():
            yield Subject(name, lambda number, policy=policy: model.infer(calls[number], policy=policy))
        yield Subject("random", lambda number: model.infer(calls[number], decisions=self.random[number]))
        for name, works in self.probes.items():
            idle = frozenset(number for number, work in enumerate(works) if work is None)
            yield Subject(f"probe {name}", lambda number, works=works: works[number](), idle=idle)

    def itself(self) -> Subject:
        """The subject that stands for the network in a comparison."""
        if self.gated:
            return Subject("sparse", lambda number: self.model.infer(self.calls[number], "sparse"))
        return Subject("itself", lambda number: self.forward(self.calls[number]))

    def _record(self) -> None:
        """Replace the network by CUDA graphs, where it can be recorded; a static one of gatebench's own always can."""
        with torch.inference_mode():
            recorded = self.model.recorded(self.calls[0], Recorder()) if self.gated else None
            if recorded:
                self.model, self.runtime = recorded, "torch, CUDA graphs"
            elif isinstance(self.model, GatedModel) and not self.gated:
                self.forward, self.runtime = Graph(self.model.infer, self.calls[0]), "torch, CUDA graphs"

    def _probes(self) -> dict[str, list[Work | None]]:
        """What each probe times in each call, by name; None where it has nothing to do."""
        with torch.inference_mode():
            return {
                name: [probe.work(x, output) for x, output in zip(self.calls, self.own, strict=True)]
                for name, probe in self.model.probes().items()
            }

    def outputs(self, execution: Execution) -> list[Output]:
        """What the gated network gives for every call."""
        with torch.inference_mode():
            return [detached(self.model.infer(x, execution)) for x in self.calls]

    def own_macs(self) -> np.ndarray:
        """Executed MACs of an input, mean of each call, [N]; without units, by torch's counter on what really runs."""
        if self.gated:
            return macs(self.own)
        counts = []
        for x in self.calls:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                self.model.infer(x) if isinstance(self.model, GatedModel) else self.model(x)
            counts.append(counter.get_total_flops() / 2 / len(x))
        return np.array(counts)

    def shares(self, decisions: list[Tensor]) -> np.ndarray:
        """Share of each unit that is on, mean of each call, [N, U]."""
        return np.stack([self.model.fractions(each.cpu().numpy()).mean(0) for each in decisions])

    def claimed(self, outputs: list[Output]) -> float:
        """The saving in percent that the method's own proxy claims for the outputs of all calls."""
        decisions = torch.cat([output.decisions for output in outputs]).cpu().numpy()
        gates = None if outputs[0].gates is None else torch.cat([output.gates for output in outputs]).float().cpu().numpy()
        return self.model.claimed(decisions, gates)

    def most_claimed(self) -> float:
        """The saving that it claims under its least decisions, with every gate at its decision."""
        least = self.model.least()[None].cpu().numpy()
        return self.model.claimed(least, least.astype(np.float32))


def macs(outputs: list[Output]) -> np.ndarray:
    """Executed MACs of an input, mean of each call, [N]."""
    return np.array([output.executed_macs.sum(1).mean().item() for output in outputs])


def detached(output: Output) -> Output:
    """A copy that a later replay of a CUDA graph does not overwrite, its MACs counted."""
    executed = output.executed_macs.clone()
    return Output(
        output.logits.clone(),
        None if output.gates is None else output.gates.clone(),
        output.decisions.clone(),
        details={name: detail.clone() for name, detail in output.details.items()},
        count=lambda: executed,
    )
