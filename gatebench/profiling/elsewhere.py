"""Networks from elsewhere made ready to be timed: copied, laid out and folded, as far as that changes nothing of what they do.

Nothing is known of them, so everything is compared with what the network itself gives on the very inputs that are timed: every tensor
of its answer, and the products that it ran. Shapes: N calls, B inputs a call, C channels, H x W pixels.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from ..errors import GatebenchError, UsageError
from ..measure.clock import clock_for
from ..runtimes.fold import fold
from ..words import counted
from . import layouts, trace
from .layouts import LAYOUTS, Layout, arranged, laid_out
from .looks import Seen, look, refusal
from .networks import Network
from .outside import FAILURES, reason
from .ready import Ready

OTHER_SEED = 2**31
"""Added to the number of a call: other random numbers than those of its first look."""
OTHERWISE = "it answers otherwise there"


class Elsewhere:
    """A network from elsewhere, looked at on all of its calls."""

    def __init__(self, network: Network, calls: Sequence[Tensor], output: str | None = None):
        """`calls` [N] are on the device, to which the network goes too; `output` is the part of its answers that counts (`answers.pick`).

        Raises UsageError where the network does not take the inputs or writes to them, and where there is no such part of its answer,
        GatebenchError where its answers hold no tensor or NaN.
        """
        self.network, self.calls, self.output = network, list(calls), output
        self.failed: dict[Layout, str] = {}
        """What goes wrong in a layout."""
        original = network.model
        original.eval()
        try:
            original.to(calls[0].device)
            if any(map(is_lazy, original.parameters())):
                with torch.no_grad():
                    original(calls[0].clone(memory_format=torch.contiguous_format))  # from which such layers take their shapes
            laid_out(original, "contiguous").requires_grad_(False)
        except FAILURES as error:
            raise refusal(network, calls[0], error) from error
        self.varying, self.same_answers = 0, True
        """Calls that gave another answer, or ran something else, when they were repeated; and whether all answers were the same."""
        self.own_layout, self.seen = self._first_looks()
        self.steady = not self.varying or self.agrees(original, self.inputs(self.own_layout), exactly=True)
        """Whether equal random numbers give equal answers."""
        if any(seen.answer.has_nan for seen in self.seen):
            raise GatebenchError(f"{network.label} answers with NaN: its weights are damaged, or its training diverged. Name others.")

    @property
    def unwatched(self) -> str:
        """What goes wrong when its operations are watched; "" where nothing does."""
        return next((seen.unwatched for seen in self.seen if seen.unwatched), "")

    @property
    def has_parts(self) -> bool:
        """Whether its answers are more than one tensor."""
        return self.seen[0].has_parts

    def inputs(self, layout: Layout) -> list[Tensor]:
        return [arranged(x, layout) for x in self.calls]

    def _look(self, model: nn.Module, x: Tensor, seed: int) -> Seen:
        return look(self.network, model, x, seed, self.output)

    def _first_looks(self) -> tuple[Layout, list[Seen]]:
        """The first layout in which the network runs, contiguous as its author ran it or else channels_last, and what each call gives.

        Each is at once repeated with other random numbers; `varying` are those that give something else then. A call before them does not
        count: networks make tables in their first one, such as of positions, and keep them.
        """
        errors = []
        for layout in reversed(LAYOUTS):
            seen, again, inputs = [], [], self.inputs(layout)
            try:
                self._look(self.network.model, inputs[0], 0)
                for number, x in enumerate(inputs):
                    seen.append(self._look(self.network.model, x, number))
                    again.append(self._look(self.network.model, x, OTHER_SEED + number))
                self.varying = sum(not first.same(second) for first, second in zip(seen, again, strict=True))
                self.same_answers = all(first.answer.same(second.answer) for first, second in zip(seen, again, strict=True))
                return layout, seen
            except FAILURES as error:
                self.failed[layout] = reason(error)
                errors.append(error)
        raise refusal(self.network, self.calls[0], errors[0]) from errors[0]

    def agrees(self, model: nn.Module, inputs: Sequence[Tensor], exactly: bool | None = None) -> bool:
        """Whether a copy does the same as the network on its first calls, as many as there are inputs.

        Without `exactly` only the form of the answer counts; None: where equal random numbers give equal answers.
        """
        compare = Seen.same if (self.steady if exactly is None else exactly) else Seen.alike
        self._look(model, inputs[0], 0)  # in which it makes what it keeps
        looks = (self._look(model, x, number) for number, x in enumerate(inputs))
        return all(compare(look, seen) for look, seen in zip(looks, self.seen, strict=False))

    @cached_property
    def copying(self) -> tuple[Callable[[], nn.Module] | None, str]:
        """What makes a copy; None, and why, where no copy does the same with weights of its own, or where that cannot be watched."""
        if self.unwatched:
            return None, self.unwatched
        ways = {"copy.deepcopy": lambda: copy.deepcopy(self.network.model)}
        if self.network.make:
            ways["its factory"] = self._made_again
        problems = []
        for way, make in ways.items():
            try:
                copied, x = make(), self.inputs(self.own_layout)[:1]
                with trace.Borrowing(self.network.model) as borrowing:
                    agrees = self.agrees(copied, x)
                problem = "it uses the weights of the original" if borrowing.found else "" if agrees else "it answers otherwise"
            except FAILURES as error:
                problem = reason(error)
            if not problem:
                return make, ""
            problems.append(f"by {way}: {problem}")
        return None, "; ".join(problems)

    def _made_again(self) -> nn.Module:
        original = self.network.model
        made = self.network.make()
        made.load_state_dict(original.state_dict())
        made.eval()
        return laid_out(made.to(self.calls[0].device), "contiguous").requires_grad_(False)

    @cached_property
    def seconds(self) -> dict[Layout, float]:
        """Of some calls in each layout that it takes; of its own layout alone where no copy can be made."""
        make, _ = self.copying
        some = min(layouts.CALLS, len(self.calls))
        work = {}
        for layout in LAYOUTS if make else ():
            try:
                model, inputs = laid_out(make(), layout), self.inputs(layout)[:some]
                if self.agrees(model, inputs):
                    work[layout] = lambda number, model=model, inputs=inputs: model(inputs[number])
                else:
                    self.failed[layout] = OTHERWISE
            except FAILURES as error:
                self.failed[layout] = reason(error)
        if len(work) < 2:
            return dict.fromkeys(work or [self.own_layout], 1.0)
        with torch.inference_mode():
            return layouts.measured(work, some, clock_for(self.calls[0].device))

    def ready(self, layout: Layout, required: bool) -> Ready:
        """The network in that layout, or else in its own, with its batch norms folded, or else as it is.

        Raises UsageError where that layout is `required` and changes what it does.
        """
        for each in dict.fromkeys([layout] if required else [layout, self.own_layout]):
            inputs = self.inputs(each)
            for folded, build in self._candidates(each):
                try:
                    model = build()
                    if self.agrees(model, inputs):
                        return self._described(model, inputs, folded, each, required)
                    self.failed[each] = OTHERWISE
                except FAILURES as error:
                    self.failed[each] = reason(error)
            if each == self.own_layout:
                return self._described(laid_out(self.network.model, each), inputs, False, each, required)
        other = next(other for other in LAYOUTS if other != layout)
        raise UsageError(f"{self.network.label} does not run in layout {layout} ({self.failed[layout]}). Give --layout {other}.")

    def _candidates(self, layout: Layout) -> Iterator[tuple[bool, Callable[[], nn.Module]]]:
        """What makes a copy in that layout, the folded one first, and whether it is; or the network itself where there are no copies."""
        make, _ = self.copying
        if make and self.steady:
            yield True, lambda: laid_out(fold(make()), layout)
        yield False, lambda: laid_out(make() if make else self.network.model, layout)

    def _described(self, model: nn.Module, inputs: list[Tensor], folded: bool, layout: Layout, required: bool) -> Ready:
        traces = [seen.trace for seen in self.seen]
        unseen = frozenset().union(*(each.unseen for each in traces))
        return Ready(
            model, inputs, folded, layout,
            varying=self.varying, same_answers=self.same_answers, reads=any(each.reads for each in traces), decides=trace.decides(traces),
            uncounted=(f"work of {trace.THREADS}",) * (trace.THREADS in unseen), uses_numpy=trace.NUMPY in unseen,
            notes=tuple(self._notes(folded, layout, required)),
        )  # fmt: skip

    def _notes(self, folded: bool, layout: Layout, required: bool) -> Iterator[str]:
        label, (make, problem) = self.network.label, self.copying
        if self.unwatched:
            yield (
                f"{label} fails when its operations are watched ({self.unwatched}): it was timed as it is, in the layout of its author, and"
                " whether it takes decisions is not known."
            )
        elif not folded and any(isinstance(part, _BatchNorm) for part in self.network.model.modules()):
            why = "folded, it fails or gives other answers"
            if make is None:
                why = f"it cannot be copied ({problem})"
            elif not self.steady:
                why = "it does not do the same twice, so that nothing can be compared"
            yield f"{label} was timed with its batch norms as they are: {why}."
        other = next(each for each in LAYOUTS if each != layout)
        if not required and other in self.failed:
            yield f"{label} was timed {layout}: in {other} it fails ({self.failed[other]})."
        elif not required and len(self.seconds) == 2 and self.seconds[other] >= layouts.ALIKE * self.seconds[layout]:
            times = self.seconds[other] / self.seconds[layout]
            yield f"{label} was timed {layout}, {times:.1f} times as fast as {other}. --layout {other} times that."
        if self.output is None and self.has_parts:
            yield (
                f"{label} answers with {self.seen[0].described}; all of it counts where answers are compared."
                f" --output takes a part of it, such as --output {self._logits()}."
            )
        columns, classes = list(self._matrices.values()), len(self.network.data.classes)
        if columns and classes not in columns and (columns[-1], classes) != (1, 2) and not self.network.prepare:
            numbers = counted(columns[-1], "number")
            yield f"{label} answers with {numbers}, {self.network.data.name} has {classes} classes. Its factory is given their number."

    @property
    def _matrices(self) -> dict[str, int]:
        """Columns of the tensors of two axes in its answer, by path."""
        return {path: x.shape[1] for path, x in self.seen[0].answer.tensors if x.dim() == 2 and x.is_floating_point()}

    def _logits(self) -> str:
        """The path of what is likeliest to be the logits: the last tensor of two axes, with a column for each class if any has."""
        tensors, classes = self.seen[0].answer.tensors, len(self.network.data.classes)
        likely = [path for path, columns in self._matrices.items() if columns == classes]
        return [*(likely or self._matrices or (path for path, _ in tensors))][-1]


def ready_together(candidates: Sequence[Elsewhere], layout: Layout | None = None) -> list[Ready]:
    """All networks from elsewhere in a layout that was asked for, or in the one that suits them all; else each in its fastest."""
    if layout:
        return [each.ready(layout, required=True) for each in candidates]
    chosen = layouts.choose([each.seconds for each in candidates])
    return [each.ready(own, required=False) for each, own in zip(candidates, chosen, strict=True)]
