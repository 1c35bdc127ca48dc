"""Files that share their weights, which lie in one more file, equal ones once."""

import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping
from typing import Any

WEIGHTS = "weights.bin"
LARGE = 1024
"""Bytes from which a tensor is shared."""
ALIGNED = 64
"""Bytes that a tensor begins at a multiple of."""


class Weights:
    """What is in the file."""

    def __init__(self):
        self._begin: dict[bytes, int] = {}
        self.content = bytearray()

    def place(self, data: bytes) -> int:
        """Where the data begin."""
        if data not in self._begin:
            self.content += bytes(-len(self.content) % ALIGNED)
            self._begin[data] = len(self.content)
            self.content += data
        return self._begin[data]


def onnx_sharing(models: Mapping[str, bytes], weights: Weights) -> dict[str, bytes]:
    """ONNX models, whose weights lie beside them."""
    import onnx
    from onnx.external_data_helper import set_external_data

    made = {}
    for path, content in models.items():
        model = onnx.load_from_string(content)
        for tensor in _tensors(model.graph):
            if len(data := tensor.raw_data) >= LARGE:
                set_external_data(tensor, WEIGHTS, weights.place(data), len(data))
                tensor.ClearField("raw_data")
        made[path] = model.SerializeToString()
    return made


def _tensors(graph: Any) -> Iterator[Any]:
    """Of a graph and the branches in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def openvino_sharing(files: Mapping[str, tuple[bytes, bytes]], weights: Weights) -> dict[str, bytes]:
    """OpenVINO's .xml files, given each with its .bin file."""
    made = {}
    for path, (content, own) in files.items():
        root = xml.fromstring(content)
        for data in root.iter("data"):
            if "offset" in data.attrib:
                begin, size = int(data.get("offset")), int(data.get("size"))
                data.set("offset", str(weights.place(own[begin : begin + size])))
        made[path] = xml.tostring(root)
    return made
