"""Weights that files of one folder share: each is there once, in a file beside them, where the runtime finds it."""

from xml.etree import ElementTree

WEIGHTS = "weights.bin"
LEAST = 1_000
"""Bytes of a tensor that is taken out of an ONNX model; smaller ones stay where they are."""
ALIGNED = 64
"""Bytes of which every tensor's place is a multiple."""


class Weights:
    """What the weights of models become, in `content`."""

    def __init__(self):
        self.content, self._places = bytearray(), {}

    def of_onnx(self, model: bytes) -> bytes:
        """The ONNX model, its larger weights taken out."""
        import onnx

        read = onnx.load_from_string(model)
        for tensor in read.graph.initializer:
            data = onnx.numpy_helper.to_array(tensor).tobytes()
            if len(data) >= LEAST:
                for each in ("raw_data", "float_data", "int32_data", "int64_data"):
                    tensor.ClearField(each)
                tensor.raw_data = data
                onnx.external_data_helper.set_external_data(tensor, WEIGHTS, self._place(data), len(data))
                tensor.ClearField("raw_data")
        return read.SerializeToString()

    def of_openvino(self, model: bytes, weights: bytes) -> bytes:
        """The .xml of an OpenVINO model, whose constants lie in `weights`; OpenVINO has them outside anyway."""
        root = ElementTree.fromstring(model)
        for constant in root.iterfind("./layers/layer[@type='Const']/data"):
            start, size = int(constant.get("offset")), int(constant.get("size"))
            constant.set("offset", str(self._place(weights[start : start + size])))
        return ElementTree.tostring(root)

    def _place(self, data: bytes) -> int:
        if data not in self._places:
            self.content += bytes(-len(self.content) % ALIGNED)
            self._places[data] = len(self.content)
            self.content += data
        return self._places[data]
