"""A piece as an ONNX model, for inputs of just the shapes that it was shown, and arranged as ONNX Runtime runs it fast."""

import io
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .quiet import errors_only

OPSET = 18
BLOCK = 16
"""Channels that ONNX Runtime takes at a time, on processors with AVX-512; 8 on others."""


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """A module that takes tensors in this order and gives a tuple, and the names of the inputs that it reads, which are the model's.

    An output that has the name of an input is called "NAME after".
    """
    import onnx
    from onnxscript import opset18

    def hypot(self, other):  # which torch cannot write as ONNX
        return opset18.Sqrt(opset18.Add(opset18.Mul(self, self), opset18.Mul(other, other)))

    stream, named = io.BytesIO(), [f"{each} after" if each in inputs else each for each in outputs]
    with warnings.catch_warnings(), errors_only("torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, tuple(inputs.values()), dynamo=True, opset_version=OPSET, input_names=list(inputs), output_names=named, verbose=False,
            custom_translation_table={torch.ops.aten.hypot.default: hypot},
        )  # fmt: skip
        program.save(stream)
    model = onnx.load_from_string(stream.getvalue())
    read = {name for node in model.graph.node for name in node.input}
    kept = [each for each in model.graph.input if each.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model.SerializeToString(), tuple(each.name for each in kept)


def for_onnxruntime(content: bytes, precision: str) -> bytes:
    """An ONNX model as ONNX Runtime runs it fast.

    It computes convolutions and poolings in a blocked layout, but sums and means over a map only in the plain one, as it does what adds a
    map that came in from outside; then it rearranges the map. So what is summed is pooled, and a pooling of single pixels, which changes
    nothing, brings such a map into the blocked layout once. Averages over parts of a map's inside are products, which are faster, of a
    map that is halved in the blocked layout first, where that leaves them the same.
    What lies between convolutions gets as many empty channels as fill the last block, without which it would not be in that layout.
    """
    import onnx

    if precision == "int8":  # has no such layout
        return content
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    _multiply(model)
    _pool(model.graph)
    _fill(model.graph)
    nodes, added = model.graph.node, {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    maps = [each.name for each in model.graph.input if is_map(each) and each.name in added]
    for node in nodes:
        node.input[:] = [f"{name} blocked" if name in maps else name for name in node.input]
    for name in maps:
        nodes.insert(0, onnx.helper.make_node("MaxPool", [name], [f"{name} blocked"], kernel_shape=[1, 1]))
    del model.graph.value_info[:]
    return model.SerializeToString()


def _multiply(model: Any) -> None:
    """Averages over parts of a map's inside become products."""
    graph, sizes, makers = model.graph, map_sizes(model.graph), {node.output[0]: node for node in model.graph.node}
    for node in [each for each in graph.node if each.op_type == "AveragePool"]:
        whole, cuts = node.input[0], []
        while whole in makers and makers[whole].op_type == "Slice":
            cuts.append(makers[whole])
            whole = cuts[-1].input[0]
        if not cuts or not all(sizes.get(whole, [0])) or sizes[whole][0] > 1:
            continue
        if averaging := _averaging(model, whole, node.output[0], sizes[whole]):
            place, (rows, columns) = [*graph.node].index(node), averaging
            halves, macs = (_paired(rows.T), _paired(columns)), sizes[whole][2] * columns.size + rows.size * columns.shape[1]
            if all(halves) and halves[0][0].size * halves[1][0].size <= 2 * macs:  # one product is fast enough to compute twice as much
                _as_one_product(graph, place, whole, *halves)
            else:
                as_products(graph, place, whole, rows, columns)
            for cut in cuts:
                if cut.output[0] not in _read(graph):
                    graph.node.remove(cut)


def _averaging(model: Any, whole: str, averages: str, size: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """What each row [averages, H] and each column [W, averages] of a map [1, C, H, W] adds to averages of the model.

    None where they are no product of the two, such as over padding that counts, or of some channels.
    """
    import onnxruntime
    from onnx.utils import Extractor

    part = Extractor(model).extract_model([whole], [averages]).SerializeToString()
    session = onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"])

    def averaged(x: np.ndarray) -> np.ndarray:
        return session.run(None, {whole: x})[0]

    def of(side: int) -> np.ndarray:
        lines = []
        for line in range(size[side]):
            ones = np.zeros(size, np.float32)
            ones.swapaxes(side, 0)[line] = 1
            lines.append(averaged(ones).swapaxes(side, 3)[0, 0, 0])
        return np.stack(lines)

    rows, columns, x = of(2).T, of(3), np.random.default_rng(0).random(size, np.float32)
    product, wanted = rows @ x @ columns, averaged(x)
    return (rows, columns) if product.shape == wanted.shape and np.allclose(product, wanted, atol=1e-5) else None


def _paired(lines: np.ndarray) -> tuple[np.ndarray, int] | None:
    """What both of each pair of a map's lines add, and 1 where the pairs begin one line before the map, else 0.

    From what each line adds [lines, averages]; [lines / 2, averages]. None where the lines of a pair differ. A last pair with one line in
    the map adds nothing, so it is left away.
    """
    for alone in (0, 1) if len(lines) % 2 == 0 else ():
        firsts, seconds = np.pad(lines, [(alone, alone), (0, 0)]).reshape(-1, 2, lines.shape[1]).swapaxes(0, 1)
        if np.array_equal(firsts, seconds):
            return firsts[: len(lines) // 2] + seconds[: len(lines) // 2], alone
    return None


def _as_one_product(graph: Any, place: int, given: str, up: tuple[np.ndarray, int], across: tuple[np.ndarray, int]) -> None:
    """Replace the node at a place by one product of the map that is given, whose pairs of rows and of columns are averaged before."""
    from onnx import helper, numpy_helper

    made, (rows, top), (columns, left) = graph.node[place].output[0], up, across
    sizes = {"flat": [-1, len(rows) * len(columns)], "size": [1, -1, rows.shape[1], columns.shape[1]]}
    constants = {name: np.array(size, np.int64) for name, size in sizes.items()}
    constants["weight"] = np.einsum("hi,wj->hwij", rows, columns).reshape(len(rows) * len(columns), -1)
    graph.initializer.extend(numpy_helper.from_array(array, f"{made} {name}") for name, array in constants.items())
    names = [given, *(f"{made} {step}" for step in ("halved", "pixels", "averages")), made]
    del graph.node[place]
    for number, (kind, more, settings) in enumerate((
        ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [top, left, 0, 0]}),
        ("Reshape", ["flat"], {}), ("MatMul", ["weight"], {}), ("Reshape", ["size"], {}),
    )):  # fmt: skip
        inputs = [names[number], *(f"{made} {name}" for name in more)]
        graph.node.insert(place + number, helper.make_node(kind, inputs, [names[number + 1]], **settings))


def as_products(graph: Any, place: int, given: str, rows: np.ndarray, columns: np.ndarray) -> None:
    """Replace the node at a place by products of the map that is given: with a matrix for the rows, and with one for the columns."""
    from onnx import helper, numpy_helper

    made = graph.node[place].output[0]
    for name, matrix in ((f"{made} rows", rows), (f"{made} columns", columns)):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(matrix), name))
    del graph.node[place]
    graph.node.insert(place, helper.make_node("MatMul", [f"{made} rows", f"{made} wide"], [made]))
    graph.node.insert(place, helper.make_node("MatMul", [given, f"{made} columns"], [f"{made} wide"]))


def map_sizes(graph: Any) -> dict[str, list[int]]:
    """Sizes [1, C, H, W] of a graph's feature maps, by name."""
    given = [*graph.input, *graph.value_info, *graph.output]
    return {each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in given if is_map(each)}


def _pool(graph: Any) -> None:
    """Means over the pixels of a map, and sums that a linear layer divides, become poolings."""
    from onnx import helper, numpy_helper

    sizes = map_sizes(graph)
    axes = {each.name: numpy_helper.to_array(each).tolist() for each in graph.initializer if each.data_type == each.INT64}
    outputs = {each.name for each in graph.output}
    for place, node in reversed(list(enumerate(graph.node))):
        flat = any(each.name == "keepdims" and not each.i for each in node.attribute)
        if not flat or node.op_type not in ("ReduceMean", "ReduceSum") or node.input[0] not in sizes or axes.get(node.input[-1]) != [2, 3]:
            continue
        if node.op_type == "ReduceSum":
            readers = [each for each in graph.node for name in each.input if name == node.output[0]]
            factors = [each for reader in readers if reader.op_type == "Gemm" for each in reader.attribute if each.name == "alpha"]
            if node.output[0] in outputs or not len(readers) == len(factors) == 1 or readers[0].input[0] != node.output[0]:
                continue
            factors[0].f *= sizes[node.input[0]][2] * sizes[node.input[0]][3]
        pooled = f"{node.output[0]} pooled"
        graph.node.insert(place + 1, helper.make_node("Flatten", [pooled], [node.output[0]], axis=1))
        graph.node.insert(place + 1, helper.make_node("GlobalAveragePool", [node.input[0]], [pooled]))
        del graph.node[place]
    read = _read(graph)
    for unused in [each for each in graph.initializer if each.name not in read]:  # of which ONNX Runtime would warn
        graph.initializer.remove(unused)


def _fill(graph: Any) -> None:
    """Convolutions that only others read give whole blocks of channels; those that are new are zero."""
    from onnx import numpy_helper

    weights, used = {each.name: each for each in graph.initializer}, Counter(name for node in graph.node for name in node.input)
    given_out = {each.name for each in graph.output}

    def can_grow(node: Any) -> bool:
        """Whether it is a convolution of one group whose weights are its own."""
        groups = any(each.name == "group" and each.i > 1 for each in node.attribute)
        return node.op_type == "Conv" and not groups and all(name in weights and used[name] == 1 for name in node.input[1:])

    def reading(name: str) -> list | None:
        """Convolutions that read a map, or what channels that are zero go through as such; None where something else does."""
        found = []
        for node in (each for each in graph.node if name in each.input):
            more = [node] if can_grow(node) else reading(node.output[0]) if node.op_type in ("Relu", "MaxPool") else None
            if more is None:
                return None
            found += more
        return None if name in given_out else found

    def grow(name: str, axis: int, count: int) -> None:
        array = numpy_helper.to_array(weights[name])
        more = [(0, count if each == axis else 0) for each in range(array.ndim)]
        weights[name].CopyFrom(numpy_helper.from_array(np.pad(array, more), name))

    for node in filter(can_grow, graph.node):
        count, others = -weights[node.input[1]].dims[0] % BLOCK, reading(node.output[0])
        if count and others:
            for name in node.input[1:]:
                grow(name, 0, count)
            for other in others:
                grow(other.input[1], 1, count)


def _read(graph: Any) -> set[str]:
    """Names of what a node reads, or the graph gives out."""
    return {each.name for each in graph.output}.union(*(node.input for node in graph.node))


def is_map(value: Any) -> bool:
    """Whether an input or output of an ONNX model is a feature map [1, C, H, W] of floats."""
    return len(value.type.tensor_type.shape.dim) == 4 and value.type.tensor_type.elem_type == 1
