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
    from onnx import helper

    writer, main, first = _Writer(pieces, contents, switches, all_on), _Graph(count()), next(iter(pieces))
    names = writer.answer(main, first, _State({"image": "image"}))
    for name, called in zip(OUTPUTS, names, strict=True):
        main.add("Identity", [called], name)
    outputs = [helper.make_tensor_value_info(name, *writer.types[called]) for name, called in zip(OUTPUTS, names, strict=True)]
    graph = main.written("network", writer.graphs[first].input, outputs)
    model = helper.make_model(graph, opset_imports=writer.opsets, ir_version=10)
    helper.set_model_props(model, {key: each if isinstance(each, str) else json.dumps(each) for key, each in said.items()})
    return model.SerializeToString()


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
    """Switches that ran on this way, other than by the decisions in `by`, which are then about all switches."""
    macs: float = 0
    """MACs of what ran so."""
    by: tuple[tuple[str, str, list[float]], ...] = ()
    """Decisions about the switches in turn: which ran, uint8 [D], the same as floats, and the MACs of each."""


class _Writer:
    """Writes pieces into graphs."""

    def __init__(self, pieces: Mapping[str, Piece], contents: Mapping[str, bytes], switches: int, all_on: bool):
        import onnx

        models = {name: onnx.load_from_string(content) for name, content in contents.items()}
        self.pieces, self.graphs = pieces, {name: model.graph for name, model in models.items()}
        versions = {each.domain: each.version for model in models.values() for each in model.opset_import}
        self.opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in ({"": OPSET} | versions).items()]
        self.switches, self.forced = switches, dearest(pieces) if all_on else None
        self.types: dict[str, tuple[int, list[int]]] = {}
        """Element type and shape of tensors by what they are called in the model."""

    def answer(self, graph: _Graph, name: str, state: _State) -> list[str]:
        """A piece and all that follow it, to the outputs; an empty name: the logits are there."""
        if not name:
            return self.outputs(graph, state)
        piece, known = self.pieces[name], self.piece(graph, name, state.known)
        return self.following(graph, name, _State(known, state.on + tuple(piece.on), state.macs + piece.macs, state.by))

    def following(self, graph: _Graph, name: str, state: _State) -> list[str]:
        """What follows a piece, step by step.

        Where the ways of a step go on otherwise, each is written to its end; else what comes next is written once, behind the step, and
        its digits are the decisions about the next switches.
        """
        steps = self.pieces[name].next
        if not steps:
            return self.outputs(graph, state)
        bits, digits = self.decided(graph, name, state.known)
        ways = self.ways(graph, steps, bits, digits)
        if self.part(steps[0]):
            return self.choice(graph, ways[0], partial(self.answer, state=state))
        known, begin, macs = state.known, 0, []
        for step, way in zip(steps, ways, strict=True):
            keys = self.pieces[after := next(filter(None, step.ways.values()))].outputs
            singles = partial(self.singles, step=step, digits=digits, begin=begin, known=known, keys=keys)
            made = self.choice(graph, way, partial(self.made, known=known, keys=keys), singles)
            known, begin = {**known, **dict(zip(keys, made, strict=True))}, begin + step.digits
            macs += [self.pieces[on].macs for _, on in step.single] or [self.pieces[step.ways["1"]].macs]
        return self.following(graph, after, _State(known, state.on, state.macs, (*state.by, (bits, digits, macs))))

    def decided(self, graph: _Graph, name: str, known: Known) -> tuple[str, str]:
        """Decisions of a piece, uint8 [D], and the same as floats."""
        bits = graph.add("Squeeze", [known["bits"], graph.constant([0])])
        digits = graph.add("Cast", [bits], to=FLOAT)
        if self.forced:
            to = graph.constant(_numbers("".join(self.forced[name])))
            digits = graph.add("Min", [graph.add("Max", [digits, to]), to])
            bits = graph.add("Cast", [digits], to=UINT8)
        return bits, digits

    def part(self, step: Step) -> bool:
        """Whether the ways of a step do not meet again."""
        kinds = [each and (self.pieces[each].outputs, self.pieces[each].next) for each in step.ways.values()]
        return not step.single and (step.digits > 1 or any(each != kinds[0] for each in kinds))

    def ways(self, graph: _Graph, steps: tuple[Step, ...], bits: str, digits: str) -> list[Following]:
        """What is next in each step.

        Conditions of all steps are computed together: each operation of a runtime takes its time, however little it computes.
        """
        single, several = self.each_digit(graph, steps, bits), self.several_digits(graph, steps, digits)
        made, begin = [], 0
        for step in steps:
            if step.digits == 1:
                off, on = step.single[0] if step.single else (step.ways["0"], step.ways["1"])
                made.append((single[begin], on, off))
            else:
                made.append(next(several))
            begin += step.digits
        return made

    def each_digit(self, graph: _Graph, steps: tuple[Step, ...], bits: str) -> list[str]:
        """A condition for each digit, where steps have but one."""
        if all(step.digits > 1 for step in steps):
            return []
        cast, size = graph.add("Cast", [bits], to=BOOL), sum(step.digits for step in steps)
        return [cast] if size == 1 else graph.split(cast, size)

    def several_digits(self, graph: _Graph, steps: tuple[Step, ...], digits: str) -> Iterator[Following]:
        """What is next in the steps of several digits, one after the other."""
        wanted, found, begin = [], [], 0  # a row of digits for each way; the forks of each step, and the number of its first way
        for step in steps:
            if step.digits > 1:
                found.append((step, len(wanted), forks(step)))
                for way in step.ways:
                    wanted.append(np.zeros(sum(each.digits for each in steps), np.float32))
                    wanted[-1][begin : begin + step.digits] = 2 * _numbers(way) - 1
            begin += step.digits
        asked = [[first + way for way in each.ways] for _, first, top in found if isinstance(top, Fork) for each in top]
        if not asked:
            return (named(step, top, iter(())) for step, _, top in found)
        table = np.stack(wanted)  # 1 where a digit is on, -1 where it is off: all agree where the sum is that of the ones
        alike = graph.add("MatMul", [digits, graph.constant(table.T)])
        met = graph.add("Equal", [alike, graph.constant((table > 0).sum(1).astype(np.float32))])
        among = np.array([[way in ways for ways in asked] for way in range(len(table))], np.float32)
        met = graph.add("MatMul", [graph.add("Cast", [met], to=FLOAT), graph.constant(among)])
        conditions = iter(graph.split(graph.add("Cast", [met], to=BOOL), len(asked)))
        return (named(step, top, conditions) for step, _, top in found)

    def choice(self, graph: _Graph, way: Following, go: Callable, singles: Callable | None = None) -> list[str]:
        """What `go` makes of the piece that is next, or what `singles` makes."""
        if not isinstance(way, tuple):
            return singles(graph) if way is None else go(graph, way)
        condition, *ways = way
        return self.branch(graph, condition, *(partial(self.choice, way=each, go=go, singles=singles) for each in ways))

    def made(self, graph: _Graph, name: str, known: Known, keys: tuple[str, ...]) -> list[str]:
        """Tensors behind a piece, by their names there; an empty name: it does nothing."""
        after = self.piece(graph, name, known) if name else known
        return [after[key] for key in keys]

    def singles(self, graph: _Graph, step: Step, digits: str, begin: int, known: Known, keys: tuple[str, ...]) -> list[str]:
        """The pieces that a step's digits, from `begin`, stand for one by one."""
        own = graph.add("Gather", [digits, graph.constant(np.arange(begin, begin + step.digits))])
        bits = graph.split(graph.add("Cast", [own], to=BOOL), step.digits)
        for bit, (off, on) in zip(bits, step.single, strict=True):
            inner = self.pieces[on].outputs
            go = partial(self.made, known=known, keys=inner)
            known = {**known, **dict(zip(inner, self.choice(graph, (bit, on, off), go), strict=True))}
        return [known[key] for key in keys]

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
            type_ = each.type.tensor_type
            self.types[called[each.name]] = type_.elem_type, [size.dim_value for size in type_.shape.dim]
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
        if state.by:
            bits, digits, macs = zip(*state.by, strict=True)
            bits, digits = (each[0] if len(each) == 1 else graph.add("Concat", list(each), axis=0) for each in (bits, digits))
            by = graph.add("MatMul", [digits, graph.constant(np.array(sum(macs, []), np.float32))])
            made = [bits, graph.add("Add", [by, graph.constant(np.float32(state.macs))])]
        else:
            on = np.isin(np.arange(self.switches + 1), state.on).astype(np.uint8)  # one more: OpenVINO reads no empty constant
            on = graph.add("Slice", [graph.constant(on), graph.constant([0]), graph.constant([self.switches])])
            made = [on, graph.add("Identity", [graph.constant(np.float32(state.macs))])]
        self.types |= {made[0]: (UINT8, [self.switches]), made[1]: (FLOAT, [])}
        return [state.known["logits"], *made]


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
