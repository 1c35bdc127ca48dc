"""All pieces of a network as one ONNX model, with an `If` wherever one piece or another is next.

It takes `image` [1, H, W, C], whole numbers, and gives `logits` [1, classes], `on` (uint8 [S], which switches ran) and
`macs` (float, [], in single precision).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from ...forks import Fork, Way, fork
from ...pieces import Piece, Step, dearest
from .onnx import OPSET

OUTPUTS = ("logits", "on", "macs")
FLOAT, UINT8, BOOL = 1, 2, 9
"""Element types, as ONNX numbers them."""
Known = Mapping[str, str]
"""What a tensor of the pieces is called in the model, by its name."""
Following = tuple[str, "Following", "Following"] | str | None
"""A condition, and what is next where it is met and where it is not; a piece by its name, empty: none; None: single ones."""


def joined(
    pieces: Mapping[str, Piece], contents: Mapping[str, bytes], said: Mapping[str, Any], switches: int, all_on: bool = False
) -> bytes:
    """The model of pieces, whose own models are `contents`; `said` goes into its metadata.

    With `all_on`, decisions are made as ever, and then what costs most is run.
    """
    writer, main, first = _Writer(pieces, contents, switches, all_on), _Graph(count()), next(iter(pieces))
    return writer.model(main, writer.graphs[first].input, writer.answer(main, first, _State({"image": "image"})), said)


def continued(pieces: Mapping[str, Piece], contents: Mapping[str, bytes], switches: int, digits: str | None) -> bytes:
    """The model of what follows the first piece by these digits, from what that gives; None: by any, which are looked at one by one."""
    writer, main, (first, piece) = _Writer(pieces, contents, switches, False), _Graph(count()), next(iter(pieces.items()))
    state = _State({each: each for each in piece.outputs}, macs=piece.macs)
    given = [each for each in writer.graphs[first].output if digits is None or each.name != "bits"]
    if digits is None:
        made = writer.singles(main, piece.next, writer.decided(main, first, state.known), state)
    else:
        made = writer.answer(main, piece.next.ways[digits], state)
    return writer.model(main, given, made, {})


class _Graph:
    """Nodes of the model, or of a branch, and the weights that they use.

    Weights lie in the graph that uses them: ONNX Runtime lays out only those that it finds there, and OpenVINO shares equal ones anyway.
    """

    def __init__(self, numbers: Iterator[int]):
        self.numbers, self.nodes, self.weights = numbers, [], {}

    def inner(self) -> "_Graph":
        return _Graph(self.numbers)

    def name(self) -> str:
        return f"t{next(self.numbers)}"

    def add(self, kind: str, inputs: list[str], name: str | None = None, **settings: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name := name or self.name()], **settings))
        return name

    def own(self, tensor: str) -> str:
        """A tensor that this graph computes, which it may give out."""
        computed = any(tensor in node.output for node in self.nodes)
        return tensor if computed else self.add("Identity", [tensor])

    def split(self, tensor: str, parts: int) -> list[str]:
        """A tensor [N] as N of [1]."""
        from onnx import helper

        names = [self.name() for _ in range(parts)]
        self.nodes.append(helper.make_node("Split", [tensor], names, axis=0, num_outputs=parts))
        return names

    def constant(self, array: Any) -> str:
        from onnx import numpy_helper

        return self.weight(numpy_helper.from_array(np.asarray(array)))

    def weight(self, tensor: Any) -> str:
        from onnx import numpy_helper

        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        if key not in self.weights:
            self.weights[key] = numpy_helper.from_array(numpy_helper.to_array(tensor), self.name())
        return self.weights[key].name

    def written(self, label: str, inputs: list, outputs: list) -> Any:
        from onnx import helper

        return helper.make_graph(self.nodes, label, inputs, outputs, list(self.weights.values()))


@dataclass(frozen=True)
class _State:
    """What there is behind some pieces."""

    known: Known
    on: tuple[int, ...] = ()
    """Switches that ran."""
    macs: float = 0


class _Writer:
    """Writes pieces into graphs."""

    def __init__(self, pieces: Mapping[str, Piece], contents: Mapping[str, bytes], switches: int, all_on: bool):
        import onnx

        models = {name: onnx.load_from_string(content) for name, content in contents.items()}
        self.pieces, self.graphs = pieces, {name: model.graph for name, model in models.items()}
        versions = {each.domain: each.version for model in models.values() for each in model.opset_import}
        self.opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in ({"": OPSET} | versions).items()]
        self.switches, self.forced = switches, dearest(pieces) if all_on else None
        self.types = {each.name: _type(each) for each in next(iter(self.graphs.values())).output}
        """Element type and shape of tensors by what they are called in the model."""

    def model(self, main: _Graph, inputs: list, made: list[str], said: Mapping[str, Any]) -> bytes:
        """The finished model, whose outputs are what was `made`."""
        from onnx import helper

        for name, called in zip(OUTPUTS, made, strict=True):
            main.add("Identity", [called], name)
        outputs = [helper.make_tensor_value_info(name, *self.types[called]) for name, called in zip(OUTPUTS, made, strict=True)]
        model = helper.make_model(main.written("network", inputs, outputs), opset_imports=self.opsets, ir_version=10)
        helper.set_model_props(model, {key: each if isinstance(each, str) else json.dumps(each) for key, each in said.items()})
        return model.SerializeToString()

    def answer(self, graph: _Graph, name: str, state: _State) -> list[str]:
        """A piece and all that follow it, to the outputs; an empty name: the logits are there."""
        if not name:
            return self.outputs(graph, state)
        piece = self.pieces[name]
        state = _State(self.piece(graph, name, state.known), state.on + tuple(piece.on), state.macs + piece.macs)
        if not piece.next:
            return self.outputs(graph, state)
        go, ways = partial(self.answer, state=state), piece.next.ways
        if set(ways) == {"0", "1"}:
            return self.choice(graph, (self.yes(graph, name, state.known), ways["1"], ways["0"]), go)
        bits = self.decided(graph, name, state.known)
        return self.choice(graph, self.way(graph, piece.next, bits), go, partial(self.singles, step=piece.next, bits=bits, state=state))

    def yes(self, graph: _Graph, name: str, known: Known) -> str:
        """The decision of a piece that two ways follow, bool [1]."""
        bits = known["bits"]
        if self.types[bits][0] != BOOL:
            bits = graph.add("Cast", [graph.add("Squeeze", [bits, graph.constant([0])])], to=BOOL)
        if self.forced:
            on = self.forced[name] == "1"
            bits = graph.add("Or" if on else "And", [bits, graph.constant([on])])
        return bits

    def decided(self, graph: _Graph, name: str, known: Known) -> str:
        """Decisions of a piece, uint8 [D]."""
        bits = graph.add("Squeeze", [known["bits"], graph.constant([0])])
        if self.forced:
            to = graph.constant(_numbers(self.forced[name]))
            forced = graph.add("Min", [graph.add("Max", [graph.add("Cast", [bits], to=FLOAT), to]), to])
            bits = graph.add("Cast", [forced], to=UINT8)
        return bits

    def way(self, graph: _Graph, step: Step, bits: str) -> Following:
        """What is next in a step; the conditions are computed together: each operation takes its time, however little it computes."""
        top = forks(step)
        if not isinstance(top, Fork):
            return named(step, top, iter(()))
        table = np.stack([2 * _numbers(way) - 1 for way in step.ways])
        digits = graph.add("Cast", [bits], to=FLOAT)
        alike = graph.add("MatMul", [digits, graph.constant(table.T)])  # all digits agree where this is the sum of the ones
        met = graph.add("Equal", [alike, graph.constant((table > 0).sum(1).astype(np.float32))])
        among = np.array([[way in each.ways for each in top] for way in range(len(table))], np.float32)
        met = graph.add("MatMul", [graph.add("Cast", [met], to=FLOAT), graph.constant(among)])
        return named(step, top, iter(graph.split(graph.add("Cast", [met], to=BOOL), among.shape[1])))

    def choice(self, graph: _Graph, way: Following, go: Callable, singles: Callable | None = None) -> list[str]:
        """What `go` makes of the piece that is next, or what `singles` makes."""
        if not isinstance(way, tuple):
            return singles(graph) if way is None else go(graph, way)
        condition, *ways = way
        return self.branch(graph, condition, *(partial(self.choice, way=each, go=go, singles=singles) for each in ways))

    def singles(self, graph: _Graph, step: Step, bits: str, state: _State) -> list[str]:
        """The pieces that a step's digits stand for one by one, which decide about all switches, to the outputs."""
        known, macs = state.known, [self.pieces[on].macs for _, on in step.single]
        for bit, (off, on) in zip(graph.split(graph.add("Cast", [bits], to=BOOL), len(macs)), step.single, strict=True):
            keys = self.pieces[on].outputs
            made = self.choice(graph, (bit, on, off), partial(self.made, known=known, keys=keys))
            known = {**known, **dict(zip(keys, made, strict=True))}
        digits = graph.add("Cast", [bits], to=FLOAT)
        spent = graph.add("MatMul", [digits, graph.constant(np.array(macs, np.float32))])
        return self.named_outputs(known, bits, graph.add("Add", [spent, graph.constant(np.float32(state.macs))]))

    def made(self, graph: _Graph, name: str, known: Known, keys: tuple[str, ...]) -> list[str]:
        """Tensors behind a piece, by their names there; an empty name: it does nothing."""
        after = self.piece(graph, name, known) if name else known
        return [after[key] for key in keys]

    def piece(self, graph: _Graph, name: str, known: Known) -> Known:
        own = self.graphs[name]
        called = {"": ""} | {each.name: known[each.name] for each in own.input}
        read = {each for node in own.node for each in node.input} | {each.name for each in own.output}
        called |= {each.name: graph.weight(each) for each in own.initializer if each.name in read}
        for node in own.node:
            called |= {each: graph.name() for each in node.output if each}
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:], copy.output[:] = [called[each] for each in node.input], [called[each] for each in node.output]
            graph.nodes.append(copy)
        for each in own.output:
            self.types[called[each.name]] = _type(each)
        return {**known, **{key: called[each.name] for key, each in zip(self.pieces[name].outputs, own.output, strict=True)}}

    def branch(self, graph: _Graph, condition: str, yes: Callable, no: Callable) -> list[str]:
        """`yes` and `no` write into a graph and name what they made."""
        from onnx import helper

        written = {}
        for label, write in (("then_branch", yes), ("else_branch", no)):
            inner = graph.inner()
            made = write(inner)
            types = [self.types[each] for each in made]
            named = [helper.make_tensor_value_info(inner.own(each), *type_) for each, type_ in zip(made, types, strict=True)]
            written[label] = inner.written(label, [], named)
        names = [graph.name() for _ in types]
        graph.nodes.append(helper.make_node("If", [condition], names, **written))
        self.types |= dict(zip(names, types, strict=True))
        return names

    def outputs(self, graph: _Graph, state: _State) -> list[str]:
        """The logits, which switches ran, and the MACs."""
        on = np.isin(np.arange(self.switches + 1), state.on).astype(np.uint8)  # one more: OpenVINO reads no empty constant
        on = graph.add("Slice", [graph.constant(on), graph.constant([0]), graph.constant([self.switches])])
        return self.named_outputs(state.known, on, graph.add("Identity", [graph.constant(np.float32(state.macs))]))

    def named_outputs(self, known: Known, on: str, macs: str) -> list[str]:
        self.types |= {on: (UINT8, [self.switches]), macs: (FLOAT, [])}
        return [known["logits"], on, macs]


def _type(value: Any) -> tuple[int, list[int]]:
    """Element type and shape of an input or output of a model."""
    type_ = value.type.tensor_type
    return type_.elem_type, [size.dim_value for size in type_.shape.dim]


def forks(step: Step) -> Way:
    """How to find which of its ways a step takes."""
    shares = step.shares or [1 / len(step.ways)] * len(step.ways)
    return fork(shares, 1 - sum(shares) if step.single else None)


def named(step: Step, way: Way, conditions: Iterator[str]) -> Following:
    """What is next in a step; `conditions` are of its forks, in their order."""
    if isinstance(way, Fork):
        return next(conditions), named(step, way.yes, conditions), named(step, way.no, conditions)
    return None if way is None else [*step.ways.values()][way]


def _numbers(digits: str) -> np.ndarray:
    return np.array([*digits], np.float32)
