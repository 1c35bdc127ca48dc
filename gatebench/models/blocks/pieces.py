"""A block-gated residual network as pieces without branches.

Where all gates are decided up front: what decides, then one piece for each common pattern of decisions; an uncommon one is put together of
single blocks. Where each gate is decided before its block: what runs (or leaves out) a block decides about the next one too.
Shapes: one input, B blocks, C channels, H x W pixels.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UsageError
from ...gating import decide
from ...pieces import Part, Piece

if TYPE_CHECKING:
    from .network import BlockGatedResNet


def pieces(net: "BlockGatedResNet", common: Tensor) -> dict[str, Piece]:
    """As `GatedModel.pieces`. Raises UsageError where gates need F(x)."""
    if net.when == "after":
        raise UsageError(
            f"{type(net).__name__} decides about a block once it is computed, so no file of it leaves work out. Export a network that"
            " decides before, such as cosinegate --config predictive."
        )
    return _up_front(net, common) if net.when == "up-front" else dict(_before(net))


def _up_front(net: "BlockGatedResNet", common: Tensor) -> dict[str, Piece]:
    def first(image: Tensor) -> tuple[Tensor, Tensor]:
        x = net.stem(image)
        return x, decide(net.up_front_logits(x), net.threshold)[1].to(torch.uint8)

    patterns = {"".join(str(int(each)) for each in on): on.tolist() for on in common}
    rest = {f"run {digits}": _pattern(net, on) for digits, on in patterns.items()}
    chain = {}
    for index, block in enumerate(net.blocks):
        chain[f"block {index}"] = Piece(_block(net, index), ("x",), ("x",), (index,), net.units[index].macs)
        if not block.shortcut_is_identity:
            chain[f"skip {index}"] = Piece(Part(net, lambda x, block=block: (block.skip(x),)), ("x",), ("x",))
    otherwise = tuple((f"skip {index}" if f"skip {index}" in chain else None, f"block {index}") for index in range(len(net.blocks)))
    chain["answer"] = Piece(Part(net, lambda x: (net.classify(x),)), ("x",), ("logits",))
    following = {digits: f"run {digits}" for digits in patterns}
    start = Piece(Part(net, first), ("image",), ("x", "bits"), macs=net.macs_outside + net.macs_gate, next=following, otherwise=otherwise)
    return {"start": start, **rest, **chain}


def _pattern(net: "BlockGatedResNet", on: list[bool]) -> Piece:
    numbers = tuple(index for index, runs in enumerate(on) if runs)
    macs = sum(net.units[index].macs for index in numbers)
    return Piece(Part(net, lambda x: (net.run(x, on),)), ("x",), ("logits",), numbers, macs)


def _block(net: "BlockGatedResNet", index: int) -> Part:
    return Part(net, lambda x, *state: (net.run_block(index, x, state),))


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

    def following(index: int) -> dict[str, str] | None:
        return {"0": f"skip {index}", "1": f"block {index}"} if index < len(net.blocks) else None

    going_on = ("x", *carried, "bits")
    yield "start", Piece(Part(net, first), ("image",), going_on, macs=net.macs_outside + net.macs_gate, next=following(0))
    for index, unit in enumerate(net.units):
        outputs = going_on if index + 1 < len(net.blocks) else ("logits",)
        for name, runs in ((f"skip {index}", False), (f"block {index}", True)):
            on, macs = ((index,), unit.macs) if runs else ((), 0)
            yield name, Piece(after(index, runs), ("x", *carried), outputs, on, macs, following(index + 1))
