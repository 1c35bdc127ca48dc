"""A network made ready to be timed, and everything of it that is timed.

Shapes: N calls, B inputs a call, S switches, U units.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ..contract import Execution, GatedModel, Output
from ..measure.macs import Count, count
from ..measure.protocol import Subject
from ..runtimes.graphs import Graph, Recorder
from .elsewhere import Elsewhere, ready_together
from .layouts import Layout
from .networks import Network
from .ready import Ready, ready

Work = Callable[[], object]


class Contender:
    """A network on the device with batch norm folded, its calls prepared, its decisions and MACs counted.

    `numbers` [N, B] are the inputs of each call. Its subjects, by name: one for each execution; `reference`, what a user would run
    instead; `imposed`, its own decisions without evaluating the gates; each of its fixed policies, under which the gates are evaluated and
    always give the same; `random`, random decisions imposed; and `probe NAME` for each of its probes. A network without units has one
    subject, `itself`.
    """

    runtime = "torch"

    def __init__(
        self,
        network: Network,
        numbers: np.ndarray,
        device: torch.device,
        draw: np.random.Generator,
        layout: Layout | None = None,
        prepared: Ready | None = None,
    ):
        """`prepared` is a network from elsewhere that was made ready before, together with others.

        Raises UsageError where the network does not take the inputs, GatebenchError where its answers are no logits.
        """
        self.network, self.numbers = network, numbers
        calls = [] if prepared else [network.batch(each, device) for each in numbers]
        self.gated = isinstance(network.model, GatedModel) and bool(network.model.units)
        self.random = [network.model.random_decisions(len(x), draw).to(device) for x in calls] if self.gated else []
        if prepared is None and isinstance(network.model, GatedModel):
            prepared = ready(network, calls, self.random, layout or "channels_last")
        self.ready = prepared or ready_together([Elsewhere(network, calls)], layout)[0]
        self.model, self.calls, self.folded, self.chosen = (getattr(self.ready, name) for name in ("model", "calls", "folded", "chosen"))
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
        return [self.output(number, execution) for number in range(len(self.calls))]

    def output(self, number: int, execution: Execution) -> Output:
        """What the gated network gives for the call of that number."""
        with torch.inference_mode():
            return detached(self.model.infer(self.calls[number], execution))

    def own_macs(self) -> np.ndarray:
        """Executed MACs of an input, mean of each call, [N]; without units, counted on what really runs.

        Not a number in all calls where one of them is `uncounted`.
        """
        if self.gated:
            return macs(self.own)
        counts = np.array([count.macs / len(x) for count, x in zip(self.counts, self.calls, strict=True)])
        return np.full_like(counts, np.nan) if self.uncounted else counts

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of operations and other work that it does and whose MACs are not known."""
        return () if self.gated else tuple(sorted({*self.ready.uncounted, *(name for count in self.counts for name in count.uncounted)}))

    @cached_property
    def counts(self) -> list[Count]:
        """What each call runs, of a network without units; counted as it was timed."""
        return [self.counted(number) for number in range(len(self.calls))]

    def counted(self, number: int) -> Count:
        """What the call of that number runs now; of a network that answers differently to the same input, not always the same."""
        call = self.model.infer if isinstance(self.model, GatedModel) else None
        with torch.inference_mode():
            return _count(self.model, self.calls[number], call)

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


def _count(model: nn.Module, x: Tensor, call: Work | None) -> Count:
    try:
        return count(model, x, call=call)
    except Exception as error:  # of what does not run while it is watched, such as compiled attention
        return Count(0, (f"{type(error).__name__} when counted",))


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
