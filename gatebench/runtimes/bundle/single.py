"""All pieces of a network as one ONNX model, with an `If` wherever one piece or another is next.

It takes `image` [1, H, W, C], whole numbers, and gives `logits` [1, classes], `on` (uint8 [S], which switches ran) and
`macs` (float, []).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...pieces import Step
from .onnx import OPSET
from .write import Models, in_precision

Known = Mapping[str, str]
"""What a tensor of the pieces is called in the model, by its name."""
COUNTED = ("on", "macs")
"""What every piece adds to."""


def single(models: Models, precision: str, said: Mapping[str, Any]) -> bytes:
    """The model; `said` is what its metadata say: `switches`, by whose number `on` is as long, and whatever else."""
    from onnx import helper

    writer = _Writer(models, in_precision(models, precision), len(said["switches"]))
    first, nodes = next(iter(models.pieces)), []
    known = writer.answer(nodes, first, writer.start)
    nodes += [helper.make_node("Identity", [known[each]], [each]) for each in ("logits", *COUNTED)]
    inputs, logits = writer.graphs[first].input, _logits(writer)
    outputs = [
        logits, helper.make_tensor_value_info("on", writer.types["on"], [len(said["switches"])]),
        helper.make_tensor_value_info("macs", writer.types["macs"], []),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "network", inputs, outputs, list(writer.weights.values()))
    model = helper.make_model(graph, opset_imports=writer.opsets, ir_version=10)
    helper.set_model_props(model, {key: each if isinstance(each, str) else json.dumps(each) for key, each in said.items()})
    return model.SerializeToString()


def _logits(writer: "_Writer"):
    return next(each for graph in writer.graphs.values() for each in graph.output if each.name == "logits")


class _Writer:
    """Writes pieces into lists of nodes; weights that are equal are there once, in the outermost graph."""

    def __init__(self, models: Models, contents: Mapping[str, bytes], switches: int):
        import onnx

        parsed = {name: onnx.load_from_string(content) for name, content in contents.items()}
        self.pieces, self.graphs = models.pieces, {name: model.graph for name, model in parsed.items()}
        versions = {each.domain: each.version for model in parsed.values() for each in model.opset_import}
        self.opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in ({"": OPSET} | versions).items()]
        self.types = {"on": onnx.TensorProto.UINT8, "macs": onnx.TensorProto.FLOAT}
        for name, graph in self.graphs.items():
            self.types |= {key: each.type.tensor_type.elem_type for key, each in zip(self.pieces[name].outputs, graph.output, strict=True)}
        self.weights, self.names, self.switches = {}, 0, switches
        self.start = {"image": "image", "on": self.constant(np.zeros(switches, np.uint8)), "macs": self.constant(np.float32(0))}

    def answer(self, nodes: list, name: str, known: Known) -> Known:
        """A piece and all that follow it, to the logits; an empty name: they are there."""
        if not name:
            return known
        known = self.piece(nodes, name, known)
        return self.following(nodes, self.pieces[name].next, known)

    def following(self, nodes: list, steps: tuple[Step, ...], known: Known, begin: int = 0) -> Known:
        """What follows a piece, by its digits from `begin`.

        Where all ways of a step give the same and go on alike, a branch is over them alone.
        """
        if not steps:
            return known
        step, *others = steps
        ways = [name and self.pieces[name] for name in step.ways.values()]
        kinds = [each and (each.outputs, each.next) for each in ways]
        own = self.constant(np.arange(begin, begin + step.digits))
        digits = self.add(nodes, "Gather", [self.add(nodes, "Cast", [known["bits"]], to=7), own], axis=1)
        if any(kind != kinds[0] for kind in kinds):
            return self.choice(nodes, step, list(step.ways.items()), digits, known, ("logits",), self.answer)
        known = self.choice(nodes, step, list(step.ways.items()), digits, known, ways[0].outputs, self.piece)
        return self.following(nodes, tuple(others) or ways[0].next, known, begin + step.digits if others else 0)

    def choice(
        self, nodes: list, step: Step, ways: list[tuple[str, str]], digits: str, known: Known, outputs: tuple[str, ...], go: Callable
    ) -> Known:
        """One of the ways that are left, by the digits, or else single pieces."""
        if not ways:
            return self.singles(nodes, step, digits, known)
        (own, then), *others = ways
        if not others and not step.single:
            return go(nodes, then, known)
        return self.branch(
            nodes, self.equal(nodes, digits, own), known, outputs,
            lambda inner: go(inner, then, known), lambda inner: self.choice(inner, step, others, digits, known, outputs, go),
        )  # fmt: skip

    def singles(self, nodes: list, step: Step, digits: str, known: Known) -> Known:
        """The pieces that digits stand for one by one."""
        for number, (off, on) in enumerate(step.single):
            digit = self.add(nodes, "Gather", [digits, self.constant(np.array([number]))], axis=1)
            yes, no = (lambda inner, each=each, known=known: self.piece(inner, each, known) if each else known for each in (on, off))
            known = self.branch(nodes, self.add(nodes, "Cast", [digit], to=9), known, self.pieces[on].outputs, yes, no)
        return known

    def piece(self, nodes: list, name: str, known: Known) -> Known:
        piece, graph = self.pieces[name], self.graphs[name]
        called = {"": ""} | {each.name: known[each.name] for each in graph.input}
        called |= {each.name: self.weight(each) for each in graph.initializer}
        for node in graph.node:
            called |= {each: self.name() for each in node.output if each}
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:], copy.output[:] = [called[each] for each in node.input], [called[each] for each in node.output]
            nodes.append(copy)
        known = {**known, **{key: called[each.name] for key, each in zip(piece.outputs, graph.output, strict=True)}}
        if piece.on:
            on = np.isin(np.arange(self.switches), piece.on).astype(np.uint8)
            known["on"] = self.add(nodes, "BitwiseOr", [known["on"], self.constant(on)])
        if piece.macs:
            known["macs"] = self.add(nodes, "Add", [known["macs"], self.constant(np.float32(piece.macs))])
        return known

    def branch(self, nodes: list, condition: str, known: Known, outputs: tuple[str, ...], yes: Callable, no: Callable) -> Known:
        """`yes` and `no` write nodes and give what is known then; of that, `outputs` and what is counted goes on."""
        from onnx import helper

        keys, graphs = (*outputs, *COUNTED), {}
        for label, write in (("then_branch", yes), ("else_branch", no)):
            inner: list = []
            after = write(inner)
            named = [helper.make_tensor_value_info(self.add(inner, "Identity", [after[key]]), self.types[key], None) for key in keys]
            graphs[label] = helper.make_graph(inner, label, [], named)
        names = [self.name() for _ in keys]
        nodes.append(helper.make_node("If", [condition], names, **graphs))
        return {**known, **dict(zip(keys, names, strict=True))}

    def equal(self, nodes: list, numbers: str, digits: str) -> str:
        """Whether numbers [1, D] are these digits."""
        same = self.add(nodes, "Equal", [numbers, self.constant(np.array([list(map(int, digits))]))])
        return self.add(nodes, "Cast", [self.add(nodes, "ReduceMin", [self.add(nodes, "Cast", [same], to=6)], keepdims=0)], to=9)

    def add(self, nodes: list, kind: str, inputs: list[str], **settings: Any) -> str:
        from onnx import helper

        nodes.append(helper.make_node(kind, inputs, [name := self.name()], **settings))
        return name

    def name(self) -> str:
        self.names += 1
        return f"t{self.names}"

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        return self.weight(numpy_helper.from_array(np.asarray(array)))

    def weight(self, tensor: Any) -> str:
        from onnx import numpy_helper

        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        if key not in self.weights:
            self.weights[key] = numpy_helper.from_array(numpy_helper.to_array(tensor), f"w{len(self.weights)}")
        return self.weights[key].name
