"""A block-gated residual network as pieces without branches.

Where all gates are decided up front: what decides, then one piece for each common pattern of decisions, or one for each stretch of blocks
where too many patterns are common; an uncommon one is put together of single blocks.
Where each gate is decided before its block: what runs (or leaves out) a block decides about the next one too.
Shapes: one input, B blocks, C channels, H x W pixels.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UsageError
from ...forks import fork
from ...gating import decide
from ...pieces import Part, Piece, Step

if TYPE_CHECKING:
    from .network import BlockGatedResNet

MOST = 8
"""Patterns of a stretch that are made ready, at most; and all blocks on."""
BORDER = 2
"""What a stretch counts as besides, in questions: its feature maps are laid out anew. Set by trial, as is what follows."""
COLD = 20_000
"""Weights that count as a question where they lie in memory several times: they come out of the cache cold."""


def pieces(net: "BlockGatedResNet", decided: Tensor, shared: bool) -> dict[str, Piece]:
    """As `GatedModel.pieces`. Raises UsageError where gates need F(x)."""
    if net.when == "after":
        raise UsageError(
            f"{type(net).__name__} decides about a block once it is computed, so no file of it leaves work out. Export a network that"
            " decides before, such as cosinegate --config predictive."
        )
    return _up_front(net, decided, shared) if net.when == "up-front" else dict(_before(net))


def _up_front(net: "BlockGatedResNet", decided: Tensor, shared: bool) -> dict[str, Piece]:
    def first(image: Tensor) -> tuple[Tensor, Tensor]:
        x = net.stem(image)
        return x, decide(net.up_front_logits(x), net.threshold)[1].to(torch.uint8)

    weights = [0 if shared else sum(each.numel() for each in block.parameters()) for block in net.blocks]
    steps, ready, single = [], {}, {}
    for begin, end, patterns in stretches(decided, weights):
        ways = {"".join(str(int(each)) for each in on): on for on in patterns}
        named = {digits: f"from {begin} {digits}" for digits in ways} if end - begin > 1 else {"1": f"block {begin}"}
        ready |= {named[digits]: _blocks(net, begin, on) for digits, on in ways.items() if end - begin > 1}
        pairs = []
        for index in range(begin, end):
            off, on = _blocks(net, index, [False]), _blocks(net, index, [True])
            does_nothing = index + 1 < len(net.blocks) and net.blocks[index].shortcut_is_identity
            single |= {f"block {index}": on} | ({} if does_nothing else {f"skip {index}": off})
            pairs.append(("" if does_nothing else f"skip {index}", f"block {index}"))
        steps.append(Step(named, tuple(pairs), tuple(patterns.values())))
    start = Piece(Part(net, first), ("image",), ("x", "bits"), macs=net.macs_outside + net.macs_gate, next=tuple(steps))
    return {"start": start, **ready, **single}


Pattern = tuple[bool, ...]
"""Which blocks of a stretch are on."""


def stretches(decided: Tensor, weights: list[int]) -> list[tuple[int, int, dict[Pattern, float]]]:
    """Begin, end and common patterns of stretches of blocks, by decisions [N, B] and how many weights each block adds to a piece.

    The patterns come with how often they are decided; that of all blocks is always there. Of all ways to cut the network, this is the one
    that costs least, counted in questions.
    """
    rows = [int("".join(str(int(each)) for each in row), 2) for row in decided.tolist()]
    blocks, best = len(weights), [(0.0, [])]
    for end in range(1, blocks + 1):
        ways = []
        for begin in range(end):
            low = blocks - end
            counts = Counter(row >> low & (1 << end - begin) - 1 for row in rows)
            price, patterns = _stretch(counts, weights[begin:end])
            ways.append((best[begin][0] + price, [*best[begin][1], (begin, end, patterns)]))
        best.append(min(ways, key=lambda each: each[0]))
    return best[-1][1]


def _stretch(counts: Counter[int], weights: list[int]) -> tuple[float, dict[Pattern, float]]:
    """What a stretch costs, and its common patterns, by how often each is decided, as a number whose digits are the blocks."""
    size, total = len(weights), counts.total()
    numbers = dict.fromkeys([*(number for number, _ in counts.most_common(MOST)), 2**size - 1])
    shares = {tuple(digit == "1" for digit in f"{number:0{size}b}"): counts[number] / total for number in numbers}
    if size == 1:  # which is asked for by its own digit
        return BORDER + 1, {(True,): counts[1] / total}
    others = 1 - sum(shares.values())
    copies = (sum(pattern[place] for pattern in shares) - 1 for place in range(size))
    again = sum(weight * copy for weight, copy in zip(weights, copies, strict=True))
    return BORDER + fork(list(shares.values()), others).asked + others * size + again / COLD, shares


def _blocks(net: "BlockGatedResNet", begin: int, on: list[bool]) -> Piece:
    """Blocks from `begin` that are on or off, and behind the last of the network its logits."""
    numbers, last = tuple(begin + place for place, runs in enumerate(on) if runs), begin + len(on) == len(net.blocks)

    def work(x: Tensor) -> tuple[Tensor]:
        for index, runs in enumerate(on, start=begin):
            x = net.run_block(index, x, ()) if runs else net.blocks[index].skip(x)
        return (net.classify(x) if last else x,)

    return Piece(Part(net, work), ("x",), ("logits" if last else "x",), numbers, sum(net.units[index].macs for index in numbers))


def _before(net: "BlockGatedResNet") -> Iterator[tuple[str, Piece]]:
    carried = tuple(f"state {number}" for number in range(len(net.start(net.stem(torch.zeros(1, *net.input_shape))))))

    def deciding(index: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What goes on to block `index`, and whether that runs; logits behind the last."""
        if index == len(net.blocks):
            return (net.classify(x),)
        logits, state = net.logits(index, x, state, None)
        return x, *state, decide(logits, net.threshold)[1][:, None].to(torch.uint8)

    def first(image: Tensor) -> tuple[Tensor, ...]:
        x = net.stem(image)
        return deciding(0, x, net.start(x))

    def after(index: int, runs: bool) -> Part:
        def work(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            x = net.run_block(index, x, state) if runs else net.blocks[index].skip(x)
            return deciding(index + 1, x, state)

        return Part(net, work)

    def following(index: int) -> tuple[Step, ...]:
        return (Step({"0": f"skip {index}", "1": f"block {index}"}),) if index < len(net.blocks) else ()

    going_on = ("x", *carried, "bits")
    yield "start", Piece(Part(net, first), ("image",), going_on, macs=net.macs_outside + net.macs_gate, next=following(0))
    for index, unit in enumerate(net.units):
        outputs = going_on if index + 1 < len(net.blocks) else ("logits",)
        for name, runs in ((f"skip {index}", False), (f"block {index}", True)):
            on, macs = ((index,), unit.macs) if runs else ((), 0)
            yield name, Piece(after(index, runs), ("x", *carried), outputs, on, macs, following(index + 1))
