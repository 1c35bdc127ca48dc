"""A block-gated residual network as pieces without branches.

Where all gates are decided up front: what decides, then one piece for each common pattern of decisions; an uncommon one is put together of
single blocks.
Where each gate is decided before its block: what runs (or leaves out) a block decides about the next one too.
Shapes: one input, B blocks, C channels, H x W pixels.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UsageError
from ...gating import decide
from ...pieces import Part, Piece, Step

if TYPE_CHECKING:
    from .network import BlockGatedResNet


def pieces(net: "BlockGatedResNet", decided: Tensor, most: int) -> dict[str, Piece]:
    """As `GatedModel.pieces`. Raises UsageError where gates need F(x)."""
    if net.when == "after":
        raise UsageError(
            f"{type(net).__name__} decides about a block once it is computed, so no file of it leaves work out. Export a network that"
            " decides before, such as cosinegate --config predictive."
        )
    return _up_front(net, decided, most) if net.when == "up-front" else dict(_before(net))


def _up_front(net: "BlockGatedResNet", decided: Tensor, most: int) -> dict[str, Piece]:
    def first(image: Tensor) -> tuple[Tensor, Tensor]:
        x = net.stem(image)
        return x, decide(net.up_front_logits(x), net.threshold)[1].to(torch.uint8)

    counts, blocks = Counter("".join(str(int(each)) for each in row) for row in decided.tolist()), len(net.blocks)
    common = dict.fromkeys([*(digits for digits, _ in counts.most_common(most)), "1" * blocks])  # that of all blocks is always there
    ways = {digits: f"pattern {digits}" for digits in common}
    ready = {name: _blocks(net, 0, [digit == "1" for digit in digits]) for digits, name in ways.items()}
    pairs, single = [], {}
    for index, block in enumerate(net.blocks):
        off, on = _blocks(net, index, [False]), _blocks(net, index, [True])
        does_nothing = index + 1 < blocks and block.shortcut_is_identity
        single |= {f"block {index}": on} | ({} if does_nothing else {f"skip {index}": off})
        pairs.append(("" if does_nothing else f"skip {index}", f"block {index}"))
    step = Step(ways, tuple(pairs), tuple(counts[digits] / counts.total() for digits in common))
    start = Piece(Part(net, first), ("image",), ("x", "bits"), macs=net.macs_outside + net.macs_gate, next=step)
    return {"start": start, **ready, **single}


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
        return x, *state, decide(logits, net.threshold)[1]

    def first(image: Tensor) -> tuple[Tensor, ...]:
        x = net.stem(image)
        return deciding(0, x, net.start(x))

    def after(index: int, runs: bool) -> Part:
        def work(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            x = net.run_block(index, x, state) if runs else net.blocks[index].skip(x)
            return deciding(index + 1, x, state)

        return Part(net, work)

    def following(index: int) -> Step | None:
        return Step({"0": f"skip {index}", "1": f"block {index}"}) if index < len(net.blocks) else None

    going_on = ("x", *carried, "bits")
    yield "start", Piece(Part(net, first), ("image",), going_on, macs=net.macs_outside + net.macs_gate, next=following(0))
    for index, unit in enumerate(net.units):
        outputs = going_on if index + 1 < len(net.blocks) else ("logits",)
        for name, runs in ((f"skip {index}", False), (f"block {index}", True)):
            on, macs = ((index,), unit.macs) if runs else ((), 0)
            yield name, Piece(after(index, runs), ("x", *carried), outputs, on, macs, following(index + 1))
