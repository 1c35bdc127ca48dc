"""One call of a network from elsewhere, looked at: what it answers, what it runs, and what went wrong.

Shapes: B inputs a call, C channels, H x W pixels.
"""

import contextlib
import random
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import GatebenchError, UsageError, lacks_memory
from ..measure.watching import uncompiled
from ..words import counted
from . import answers
from .layouts import Layout
from .networks import Network
from .outside import FAILURES, cause, reason
from .trace import Trace, Tracing, leaving

CUDA = re.compile(r"CUDA|NVIDIA")
"""In errors of code that asks for a GPU where there is none."""
REQUIRED = re.compile(r"required (positional|keyword-only) argument")
TYPES = re.compile(r"[dD]ata ?type|dtype|scalar type|type \(.*\) should be the same")
CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
SIZES = re.compile(
    r"shapes cannot be multiplied|[Kk]ernel size can't be greater|[Oo]utput size is too small|is invalid for input of size"
    r"|must match the (existing )?size|[Ss]izes of tensors must match|doesn't match model|size mismatch|normalized_shape|image size"
)
"""In torch's errors."""


@dataclass(frozen=True)
class Seen:
    """What a call gave."""

    answer: answers.Answer
    trace: Trace
    described: str
    """The answer in some words."""
    has_parts: bool
    """Whether the answer is more than one tensor."""
    unwatched: str = ""
    """What goes wrong when its operations are watched; its trace is then empty."""

    def same(self, other: "Seen") -> bool:
        """Whether both gave the same, every tensor of it, and stopped at the same place."""
        return self.trace.products == other.trace.products and self.answer.same(other.answer)

    def alike(self, other: "Seen") -> bool:
        """Whether both answers have the same form."""
        return self.answer.structure == other.answer.structure


def look(network: Network, model: nn.Module, x: Tensor, seed: int, output: str | None) -> Seen:
    """One call of `model`, which is the network or a copy of it, on x [B, C, H, W], with random numbers that `seed` decides.

    `output` is the part of the answer that counts; None: all of it. Raises UsageError where there is no such part and where the network
    writes to its input, GatebenchError where there is no tensor in the answer, and whatever its own code raises.
    """
    given = x.clone()
    answer, trace, unwatched = _run(model, given, seed)
    if not torch.equal(given, x):
        raise UsageError(f"{network.label} writes to its input, so every call would see another one. Begin its forward with x = x.clone().")
    described = answers.describe(answer)
    if not answers.has_tensor(answer):
        mend = "Nothing of that is computed before it is read; let forward return a list"
        mend = mend if isinstance(answer, Iterator) else "Let its forward return the logits as a tensor, or a list or mapping with them"
        raise GatebenchError(f"{network.label} gives no tensor of logits: it answers with {described}. {mend}.")
    has_parts = not isinstance(answer, Tensor)
    if output is not None and has_parts:
        answer = answers.pick(answer, output)
    return Seen(answers.take_apart(answer), trace, described, has_parts, unwatched)


def _run(model: nn.Module, x: Tensor, seed: int) -> tuple[object, Trace, str]:
    """What a call answers, its trace, and what goes wrong when it is watched but not otherwise."""

    def run(watch: AbstractContextManager) -> object:
        with torch.inference_mode(), drawn_from(seed), watch:
            return model(x)

    def watched() -> tuple[object, Trace]:
        tracing = Tracing(len(x))
        with uncompiled(), leaving(len(x)) as places:
            answer = run(tracing)
        tracing.trace.unseen = frozenset(places)
        return answer, tracing.trace

    try:
        return *watched(), ""
    except FAILURES as error:
        if isinstance(error, GatebenchError) or lacks_memory(error):
            raise
    answer = run(contextlib.nullcontext())
    try:
        return *watched(), ""  # once something was compiled, `uncompiled` may help
    except FAILURES as error:
        return answer, Trace(), reason(error)


def refusal(network: Network, x: Tensor, error: BaseException, layout: Layout | None = None) -> BaseException:
    """The error for a network that failed on x [B, C, H, W], in a layout that was asked for; those that say enough stay as they are."""
    if isinstance(error, GatebenchError) or lacks_memory(error):
        return error
    count, shape = len(x), "x".join(map(str, x.shape[1:]))
    inputs = f"one {shape} input" if count == 1 else f"{count} {shape} inputs at once"
    where = f" in layout {layout}" if layout else ""
    return UsageError(f"{network.label} does not take {inputs} of {network.data.name}{where} ({cause(error)}).{_mend(network, x, error)}")


def _mend(network: Network, x: Tensor, error: BaseException) -> str:
    """A sentence on what helps against an error, with a blank before it; "" where nothing is known."""
    said = str(error)
    if isinstance(error, TypeError) and REQUIRED.search(said):
        return " Let its factory give the other arguments, as docs/networks.md shows."
    weights = [*network.model.parameters(), *network.model.buffers()]
    if any(each.is_meta for each in weights):
        return " Its weights are on the meta device, without values: let its factory load them."
    types = {str(each.dtype).removeprefix("torch.") for each in weights if each.is_floating_point() and each.dtype != x.dtype}
    if types and TYPES.search(said):
        return f" Images are float32, its weights {' and '.join(sorted(types))}: let its factory return network.float()."
    if (channels := CHANNELS.search(said)) and int(channels[2]) == x.shape[1]:
        to = {"1": "x.mean(1, keepdim=True)", "3": "x.expand(-1, 3, -1, -1)"}.get(channels[1])
        other = f", or begin its forward with x = {to}" if to and x.shape[1] in (1, 3) else ""
        takes = counted(int(channels[1]), "channel")
        return f" It takes {takes}, the images have {channels[2]}: name others with --dataset{other}."
    if x.device.type == "cpu" and CUDA.search(said):
        return " Its code asks for CUDA: let its factory replace what does, or run it where there is a GPU."
    if len(x) == 1:
        with contextlib.suppress(*FAILURES), torch.inference_mode():
            network.model(torch.cat([x, x]))
            return " It takes two at once: give --batch-size 2."
    if SIZES.search(said):
        return " Is it made for images of another size? Put nn.Upsample before it in its factory, or name such images with --dataset."
    return ""


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Random numbers of torch, NumPy and Python drawn from a seed; afterwards they go on as before."""
    states = np.random.get_state(), random.getstate()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
