"""Files of weights as people have them: what loads loads with equal values and says what was left out; the rest names the real cause."""

import argparse
import collections
import copy
import datetime
import functools
import hashlib
import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import STATIC
from safetensors.torch import save_file
from torch import nn

from gatebench.errors import GatebenchError
from gatebench.models import registry
from gatebench.trained import fill_from, start_from
from gatebench.weights.files import StandIn, file_digest, read_weights
from gatebench.weights.fit import mismatch


class Net(nn.Module):
    """A convolution, a batch norm and a linear layer, whose tensors are all drawn from a seed."""

    def __init__(self, classes: int = 5, seed: int = 0):
        torch.manual_seed(seed)
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, classes)
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + (0.5 if name == "bn.running_var" else -0.5))

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


class Within(nn.Module):
    """A network that somebody wrapped."""

    def __init__(self, net: nn.Module, name: str = "net"):
        super().__init__()
        self.add_module(name, net)


class Settings:
    """A class of somebody's own."""


class Hostile:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


SAVED, OTHER = Net(seed=1), Net(seed=2)
STATE, OTHER_STATE = SAVED.state_dict(), OTHER.state_dict()


def named(beginning: str, state: dict = STATE) -> dict:
    return {f"{beginning}{name}": tensor for name, tensor in state.items()}


def without(ending: str, state: dict = STATE) -> dict:
    return {name: tensor for name, tensor in state.items() if not name.endswith(ending)}


def changed(**changes: torch.Tensor) -> dict:
    return {**STATE, **{name.replace("_", ".", 1): tensor for name, tensor in changes.items()}}


def counted(state: dict) -> dict:
    """As thop leaves it."""
    places = {name.rpartition(".")[0] for name in state}
    return {**state, **{f"{place}.{each}": torch.zeros(1).double() for place in places for each in ("total_ops", "total_params")}}


def parallel_inside() -> dict:
    net = copy.deepcopy(SAVED)
    net.conv = nn.DataParallel(net.conv)
    return net.state_dict()


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():  # torch will do without
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(5), 0.1, 0, torch.qint8)


@functools.cache
def optimizer() -> torch.optim.Optimizer:
    """One that has momentum, of a copy's training."""
    net = copy.deepcopy(SAVED)
    one = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.ones(2, 3, 8, 8)).sum().backward()
    one.step()
    return one


def half(state: dict) -> dict:
    return {name: each.half() if each.is_floating_point() else each for name, each in state.items()}


LIGHTNING = {
    "epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.1.0", "state_dict": named("model."), "loops": {"fit_loop": {}},
    "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.3)}}, "hyper_parameters": {"lr": 0.1},
    "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(4, 3, 3, 3)}}}],
}  # fmt: skip


def beside() -> dict:
    """What scripts save with weights."""
    return {
        "args": argparse.Namespace(lr=0.1, out=Path("a/b"), when=datetime.datetime(2020, 1, 1), steps=[1, 2]), "acc": np.float64(0.9),
        "loss": np.float32(0.1), "epoch": np.int64(3), "curve": np.zeros(3), "took": datetime.timedelta(1),
        "log": collections.defaultdict(list, {"loss": [0.1]}), "last": collections.deque([1, 2], 3), "size": torch.Size([3]), "set": {1},
        "frozen": frozenset([1]), "range": range(3), "kind": torch.float16, "activation": torch.nn.functional.relu,
        "optimizer": optimizer(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer(), 1),
    }  # fmt: skip


FITS_TOO = "'{}' fits too and was not taken; to take it, save that part alone."
MODULE = "left out the prefix 'module.' of all names."

LOADS = {
    "as it is": (lambda: STATE, []),
    "parameters": (lambda: {name: nn.Parameter(each, each.is_floating_point()) for name, each in STATE.items()}, []),
    "DataParallel": (lambda: nn.DataParallel(SAVED).state_dict(), [MODULE]),
    "compile": (lambda: torch.compile(SAVED).state_dict(), ["left out the prefix '_orig_mod.' of all names."]),
    "compile of DataParallel": (lambda: named("_orig_mod.module."), ["left out the prefix '_orig_mod.module.' of all names."]),
    "DataParallel of compile": (lambda: named("module._orig_mod."), ["left out the prefix 'module._orig_mod.' of all names."]),
    "DataParallel twice": (lambda: named("module.module."), ["left out the prefix 'module.module.' of all names."]),
    "DataParallel of a part": (parallel_inside, ["left out 'module.' in 1 name."]),
    "averaged by swa_utils": (
        lambda: torch.optim.swa_utils.AveragedModel(SAVED).state_dict(),
        ["left out the prefix 'module.' of all names, left out 1 that is no weight (n_averaged)."],
    ),
    "state_dict": (lambda: {"state_dict": STATE}, ["took 'state_dict'."]),
    "model": (lambda: {"model": STATE}, ["took 'model'."]),
    "net, as kuangliu": (lambda: {"net": named("module."), "acc": 95.1, "epoch": 199}, [f"took 'net', {MODULE}"]),
    "akamaster": (lambda: {"state_dict": without("tracked", named("module.")), "best_prec1": 91.7}, [f"took 'state_dict', {MODULE}"]),
    "model_state_dict": (lambda: {"model_state_dict": STATE, "loss": torch.tensor(0.3)}, ["took 'model_state_dict'."]),
    "weights": (lambda: {"weights": STATE}, ["took 'weights'."]),
    "a wrapper of any name": (lambda: {"resnet of mine": STATE}, ["took 'resnet of mine'."]),
    "DeepSpeed": (lambda: {"module": STATE, "ds_config": {}}, ["took 'module'."]),
    "wrappers in wrappers": (lambda: {"checkpoint": {"a": {"model": named("module.")}}, "b": 1}, [f"took 'checkpoint.a.model', {MODULE}"]),
    "in a list": (lambda: [STATE, optimizer().state_dict()], ["took '0'."]),
    "with an optimizer": (lambda: {"epoch": 3, "arch": "net", "state_dict": STATE, "optimizer": optimizer().state_dict()},
      ["took 'state_dict'."]),
    "Lightning": (lambda: LIGHTNING, ["took 'state_dict', left out the prefix 'model.' of all names."]),
    "Lightning with the weights of a loss": (
        lambda: {"state_dict": {"criterion.weight": torch.ones(5), **named("model.")}},
        ["took 'state_dict', left out the prefix 'model.' of all names, left out 1 that the network has not (weight)."],
    ),
    "Lightning, compiled": (
        lambda: {"state_dict": named("model._orig_mod.")},
        ["took 'state_dict', left out the prefix 'model._orig_mod.' of all names."],
    ),
    "a prefix of any name": (lambda: named("my_wrapper.inner."), ["left out the prefix 'my_wrapper.inner.' of all names."]),
    "one wrapper a part": (
        lambda: {"conv": {"weight": STATE["conv.weight"]}, "rest": 1, **{key: {name[len(key) + 1 :]: each for name, each in STATE.items()
         if name.startswith(key)} for key in ("bn", "fc")}},
        ["took 'conv' and 'bn' and 'fc'."],
    ),
    "model and EMA": (lambda: {"model": STATE, "ema": OTHER_STATE}, ["took 'model'.", FITS_TOO.format("ema")]),
    "EMA and model": (lambda: {"ema": OTHER_STATE, "model": STATE}, ["took 'model'.", FITS_TOO.format("ema")]),
    "state_dict_ema, as timm": (
        lambda: {"state_dict": STATE, "state_dict_ema": OTHER_STATE}, ["took 'state_dict'.", FITS_TOO.format("state_dict_ema")],
    ),
    "model_ema": (lambda: {"model_ema": named("module.", OTHER_STATE), "model": STATE}, ["took 'model'.", FITS_TOO.format("model_ema")]),
    "EMA below a prefix": (lambda: {**named("ema_model.", OTHER_STATE), **named("model.")}, [
        "left out the prefix 'model.' of all names, left out 8 that the network has not (weight, bias, running_mean, ...).",
        FITS_TOO.format("ema_model."),
    ]),
    "EMA alone": (lambda: {"ema_state_dict": STATE, "step": 3}, ["took 'ema_state_dict'."]),
    "EMA of another size": (lambda: {"ema": Net(9).state_dict(), "model": STATE}, ["took 'model'."]),
    "EMA in half precision": (lambda: {"model": STATE, "ema": half(OTHER_STATE)}, ["took 'model'.", FITS_TOO.format("ema")]),
    "EMA without values": (lambda: {"model": STATE, "ema": {name: each.to("meta") for name, each in STATE.items()}}, ["took 'model'."]),
    "EMA that is sparse": (
        lambda: {"model": STATE, "ema": {**STATE, "conv.weight": STATE["conv.weight"].to_sparse()}}, ["took 'model'."],
    ),
    "EMA, and weights without counts of batches": (
        lambda: {"ema": OTHER_STATE, "model": without("tracked")}, ["took 'model'.", FITS_TOO.format("ema")],
    ),
    "EMA, and weights that are quantised": (lambda: {"model": changed(fc_bias=quantised()), "ema": STATE}, [
        "took 'ema'.", "the weights in 'model' cannot be taken: fc.bias is quantised (qint8); save it with dequantize().",
    ]),
    "EMA, and weights that lack a tensor": (lambda: {"model": without("fc.bias"), "ema": STATE}, [
        "took 'ema'.", "the weights in 'model' cannot be taken: they lack 1 of the network's 8 tensors (fc.bias).",
    ]),
    "EMA, and weights of other classes": (lambda: {"state_dict": Net(9).state_dict(), "state_dict_ema": STATE}, [
        "took 'state_dict_ema'.",
        "the weights in 'state_dict' cannot be taken: fc.weight is 5x4 here and 9x4 in the file: they were trained for 9 classes, and"
        " this network has 5; a --dataset of 9 would suit them.",
    ]),
    "an optimizer's averages": (
        lambda: {"optimizer": {"exp_avg": Net(seed=3).state_dict()}, "ema": OTHER_STATE, "model": STATE},
        ["took 'model'.", FITS_TOO.format("ema"), FITS_TOO.format("optimizer.exp_avg")],
    ),
    "an optimizer's averages and EMA": (
        lambda: {"optim": {"momentum": OTHER_STATE}, "ema": STATE}, ["took 'ema'.", FITS_TOO.format("optim.momentum")],
    ),
    "gradients": (lambda: {"grads": OTHER_STATE, "model": STATE}, ["took 'model'.", FITS_TOO.format("grads")]),
    "two wrappers of torch": (
        lambda: {"module": STATE, "_orig_mod": OTHER_STATE}, ["took 'module'.", FITS_TOO.format("_orig_mod")],
    ),
    "a wrapper of torch beside them": (lambda: {**STATE, "module": OTHER_STATE}, [FITS_TOO.format("module")]),
    "a wrapper of torch deeper": (
        lambda: {"model": STATE, "module": {"model": OTHER_STATE}}, ["took 'model'.", FITS_TOO.format("module.model")],
    ),
    "two that fit": (lambda: {"best": STATE, "last": OTHER_STATE}, ["took 'best'.", FITS_TOO.format("last")]),
    "two that are the same": (lambda: {"best": STATE, "last": {**STATE}}, ["took 'best'."]),
    "teacher and student": (lambda: {**named("teacher.", OTHER_STATE), **named("student.")}, [
        "left out the prefix 'student.' of all names, left out 8 that the network has not (weight, bias, running_mean, ...).",
        FITS_TOO.format("teacher."),
    ]),
    "counters of thop": (
        lambda: {"state_dict": counted(named("module."))},
        [f"took 'state_dict', {MODULE[:-1]}, left out 6 that are no weights (total_ops, total_params)."],
    ),
    "counts of batches missing": (lambda: without("num_batches_tracked"), []),
    "counts of batches too many": (
        lambda: changed(conv_num_batches_tracked=torch.tensor(3)), ["left out 1 that is no weight (num_batches_tracked)."],
    ),
    "an index as a buffer": (lambda: changed(fc_position_ids=torch.arange(3)), ["left out 1 that is no weight (position_ids)."]),
    "numbers beside tensors": (lambda: {**STATE, "epoch": 3, "best": 0.9}, ["left out 2 that are no weights (epoch, best)."]),
    "objects beside them": (lambda: {"state_dict": STATE, **beside()}, ["took 'state_dict'."]),
    "a loss beside them": (lambda: {"state_dict": STATE, "criterion": nn.CrossEntropyLoss()}, ["took 'state_dict'."]),
    "in a defaultdict": (lambda: collections.defaultdict(int, STATE), []),
    "float64": (lambda: {name: each.double() if each.is_floating_point() else each for name, each in STATE.items()},
                ["converted from float64 to float32."]),
    "memory that is shared": (lambda: {"state_dict": STATE, "again": STATE}, ["took 'state_dict'."]),
}  # fmt: skip
"""What makes what is saved, and what is said of it."""


def written(content, path: Path, **options) -> Path:
    torch.save(content, path, **options)
    return path


def equal(model: nn.Module, state: dict) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], tensor.to(own[name].dtype)) for name, tensor in state.items())


def of_both_ages(forms: dict) -> pytest.MarkDecorator:
    """Each form as torch writes it and as it did before 1.6, which wrote the source of losses too, and no meta tensors."""
    cases = [
        (form, old) for form in forms for old in (False, True) if not (old and form in ("a loss beside them", "meta", "EMA without values"))
    ]
    return pytest.mark.parametrize(("form", "old"), cases, ids=[f"{form}{', before 1.6' * old}" for form, old in cases])


@of_both_ages(LOADS)
def test_weights_load_and_it_is_said_what_was_left_out(tmp_path, form, old):
    make, said = LOADS[form]
    model, path = Net(), written(make(), tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    assert fill_from(model, path) == [f"w.pt: {sentence}" for sentence in said]
    assert equal(model, without("num_batches_tracked"))


@pytest.mark.parametrize("form", ["w.safetensors", "w.bin", "w.npz"])
def test_tensors_by_name_of_other_writers_load_whatever_the_file_is_called(tmp_path, form):
    state, path = named("module."), tmp_path / form
    np.savez(path, **{name: each.numpy() for name, each in state.items()}) if form == "w.npz" else save_file(state, path)
    model = Net()
    assert fill_from(model, path) == [f"{form}: {MODULE}"] and equal(model, STATE)


@pytest.mark.parametrize("beginning", [0x80, 0x08, 0x3C, 0x7B, 0x4B50, 0x8B1F])
def test_a_file_of_safetensors_may_begin_like_another(tmp_path, beginning):
    """Its first bytes are the length of its header."""
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2)}, path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    longer = next(size for size in range(beginning, 1 << 20, 1 << 8 * (1 + (beginning > 255))) if size >= len(content))
    path.write_bytes(longer.to_bytes(8, "little") + content[8 : 8 + size].ljust(longer) + content[8 + size :])
    assert read_weights(path)[0]["a"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_and_said(tmp_path, kind):
    state = {name: each.to(kind) if each.is_floating_point() else each for name, each in STATE.items()}
    model = Net()
    assert fill_from(model, written(state, tmp_path / "w.pt")) == [f"w.pt: converted from {str(kind)[6:]} to float32."]
    assert equal(model, state)


def test_values_that_are_not_finite_are_said(tmp_path):
    weight = STATE["fc.weight"].clone()
    weight[0, :2] = torch.tensor([torch.nan, torch.inf])
    path = written(changed(fc_weight=weight), tmp_path / "w.pt")
    assert fill_from(Net(), path) == ["w.pt: 2 of the 20 values of fc.weight are not finite."]


@pytest.mark.parametrize(
    ("model", "state", "said"),
    [
        (Within(Net()), STATE, "put 'net.' before all names."),
        (nn.DataParallel(Net()), STATE, "put 'module.' before all names."),
        (nn.DataParallel(Net()), {"net": named("_orig_mod.")}, "took 'net', replaced '_orig_mod.' by 'module.' in all names."),
        (Within(Within(Net()), "outer"), named("net."), "put 'outer.' before all names."),
        (Within(Net(), "module"), named("module."), None),
        (Within(Net()), named("encoder."), "replaced 'encoder.' by 'net.' in all names."),
    ],
)  # fmt: skip
def test_a_network_may_be_wrapped_itself(tmp_path, model, state, said):
    model = copy.deepcopy(model)
    assert fill_from(model, written(state, tmp_path / "w.pt")) == ([f"w.pt: {said}"] if said else [])
    assert [torch.equal(one, other) for one, other in zip(model.state_dict().values(), STATE.values(), strict=True)] == [True] * 8


def test_names_that_differ_in_a_wrapper_s_part_alone_are_told_apart(tmp_path):
    """DataParallel's `module` is left out of names only where two of them do not become one."""
    model, saved = Within(Net(seed=3)), Within(Net(seed=1))
    for each, net in ((model, Net(seed=4)), (saved, Net(seed=2))):
        each.net.module = Within(net, "unused").unused
    assert fill_from(model, written(saved.state_dict(), tmp_path / "w.pt")) == []
    assert equal(model, saved.state_dict())


LACKS = "holds the weights of another network: they lack"
TAKEN = "cannot be taken: "
UNREADABLE = "is not a file of weights that can be read: "
REFUSED = {
    "partly": (lambda: {name: each for name, each in STATE.items() if "bn" not in name},
      f"{LACKS} 4 of the network's 8 tensors (first bn.weight"),
    "one missing": (lambda: without("fc.bias"), f"{LACKS} 1 of the network's 8 tensors (fc.bias)."),
    "partly below a prefix": (lambda: named("module.", without("fc.bias")), f"{LACKS} 1 of the network's 8 tensors (fc.bias)."),
    "too many": (lambda: {**STATE, **named("gate.")}, "they have 7 that the network has not (first gate.conv.weight)."),
    "nothing in common": (lambda: {"a.b": torch.ones(2), "c": torch.ones(2)},
                          "they lack 7 of the network's 8 tensors (first conv.weight); they have 2 that the network has not (first a.b)"),
    "other classes": (lambda: Net(100).state_dict(),
                      "fc.weight is 5x4 here and 100x4 in the file: they were trained for 100 classes, and this network has 5; a"
                      " --dataset of 100 would suit them. Name the weights that belong to it."),
    "other shapes": (lambda: changed(conv_weight=torch.ones(4, 3, 5, 5), bn_bias=torch.ones(9)),
                     "conv.weight is 4x3x3x3 here and 4x3x5x5 in the file, and 1 more have other shapes."),
    "a backbone with a head": (lambda: {**named("backbone."), "head.weight": torch.ones(3)},
                               f"{TAKEN}those of the network are there, as 'backbone.', but so is head.weight, beside them; save"),
    "a name that is but a wrapper's": (lambda: {**STATE, "module": torch.ones(1), "": torch.ones(1)},
      "they have 1 that the network has not"),
    "one of two layers": (lambda: {"conv.weight": torch.ones(1), "module.conv.weight": torch.ones(1)}, f"{LACKS} 6 of the network's 8"),
    "pruned": (lambda: without("fc.weight", {**STATE, "fc.weight_orig": STATE["fc.weight"], "fc.weight_mask": STATE["fc.weight"]}),
               "torch.nn.utils.prune.remove(layer, 'weight')"),
    "an adapter": (lambda: {**STATE, "fc.lora_A.weight": torch.ones(1)}, "adapters"),
    "complex": (lambda: changed(fc_bias=torch.ones(5, dtype=torch.complex64)),
      f"{TAKEN}fc.bias is complex64 in the file, and float32 is wanted."),
    "whole numbers": (lambda: changed(fc_bias=torch.ones(5, dtype=torch.int8)),
      f"{TAKEN}fc.bias is int8 in the file, and float32 is wanted."),
    "quantised": (lambda: changed(fc_bias=quantised()), "fc.bias is quantised (qint8); save it"),
    "meta": (lambda: changed(fc_bias=torch.empty(5, device="meta")), f"{TAKEN}fc.bias has no values: it was saved on the meta device."),
    "sparse": (lambda: changed(fc_weight=torch.ones(5, 4).to_sparse()), f"{TAKEN}fc.weight is sparse; save it with to_dense()."),
    "numbers in place of a tensor": (lambda: changed(fc_bias=3), f"{TAKEN}fc.bias is no tensor, but an int."),
    "numpy arrays": (lambda: {name: each.numpy() for name, each in STATE.items()}, f"{TAKEN}they are numpy arrays; save tensors"),
    "a list of tensors": (lambda: list(STATE.values()), f"{TAKEN}there are no tensors by name; save model.state_dict()."),
    "keys that are no text": (lambda: dict(enumerate(STATE.values())), f"{TAKEN}there are no tensors by name"),
    "a tensor": (lambda: torch.ones(3), f"{TAKEN}there is one tensor without a name"),
    "a number": (lambda: 3, f"{TAKEN}there is nothing but 3;"),
    "nothing": (lambda: {}, f"{TAKEN}there is nothing but {{}};"),
    "a whole network": (lambda: SAVED, f"{UNREADABLE}it holds a whole network (test_weights.Net), which only code can build. Write the"
                                       " weights alone where its code is, with torch.save(model.state_dict(), FILE)."),
    "a whole network of torch's layers": (lambda: nn.Sequential(nn.Linear(1, 1)),
      "a whole network (torch.nn.modules.container.Sequential)"),
    "a class beside them": (lambda: {"state_dict": STATE, "cfg": Settings()},
                            f"{UNREADABLE}beside weights it holds test_weights.Settings, which only code can build. Write the weights"),
    "a function beside them": (lambda: {"state_dict": STATE, "make": named}, "beside weights it holds test_weights.named, which only"),
}  # fmt: skip
"""What makes what is saved, and the words that refuse it."""


@of_both_ages(REFUSED)
def test_the_real_cause_is_named(tmp_path, form, old):
    make, said = REFUSED[form]
    path = written(make(), tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(GatebenchError) as refused:
        fill_from(Net(), path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def archive(names: list[str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name in names:
            packed.writestr(name, "x")
    return stream.getvalue()


def saved(content, **options) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def scripted() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():  # torch will do without
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), stream)
    return stream.getvalue()


def safe() -> bytes:
    import safetensors.torch

    return safetensors.torch.save(STATE)


BROKEN_OFF = "it ends too early, as a download that broke off. Get the file again."
FILES = {
    "empty": (lambda: b"", "it is empty. Get the file again."),
    "zeros": (lambda: bytes(5000), "it begins with nothing but zeros. Get the file again."),
    "words": (lambda: b"weights", "it is no torch, safetensors or .npz file. Give .safetensors, or what torch.save("),
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
                "it is a Git LFS pointer, which stands for the file. Get the file itself with git lfs pull."),
    "page": (lambda: b"\n<!DOCTYPE html>\n<html>Sign in</html>", "it is a web page, such as a server sends instead of a file. Get"),
    "index": (lambda: json.dumps({"weight_map": {}}).encode(), "it is a text of JSON. Name the file that holds the tensors."),
    "half a zip": (lambda: saved(STATE)[:-300], BROKEN_OFF),
    "half a pickle": (lambda: saved(STATE, _use_new_zipfile_serialization=False)[:-100], BROKEN_OFF),
    "the beginning of a pickle": (lambda: saved(STATE, _use_new_zipfile_serialization=False)[:200], BROKEN_OFF),
    "half of safetensors": (lambda: safe()[:-100], BROKEN_OFF),
    "the beginning of safetensors": (lambda: safe()[:100], BROKEN_OFF),
    "the source of a loss": (
        lambda: saved({"model": STATE, "loss": nn.CrossEntropyLoss()}, _use_new_zipfile_serialization=False),
        "beside weights it holds a layer or a loss with its code. Write the weights alone",
    ),
    "another pickle": (lambda: pickle.dumps({"a": 1}), "it is a pickle of another kind than torch.save writes. Write it with torch.save("),
    "another protocol": (lambda: saved(STATE, pickle_protocol=4), "it is a pickle of another kind than torch.save writes."),
    "TorchScript": (scripted, "it is a TorchScript archive, which holds a network with its code. Save the weights alone: torch."),
    "torch.export": (lambda: archive(["a/archive_format", "a/models/model.json"]), "it is a program that torch.export wrote"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "it is an HDF5 file, as Keras and TensorFlow write."),
    "Keras": (lambda: archive(["config.json", "model.weights.h5"]), "it is an HDF5 file, as Keras"),
    "zip": (lambda: archive(["resnet/weights.pth"]), "it is a packed archive. Unpack it"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(99), "it is a packed archive. Unpack it"),
    "tar": (lambda: b"a.pth".ljust(257, b"\0") + b"ustar" + bytes(250), "it is a packed archive. Unpack it"),
    "oldest torch": (lambda: b"storages".ljust(257, b"\0") + b"ustar" + bytes(250), "torch before 0.2 wrote it"),
    "ONNX": (lambda: b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:" + bytes(99), "it is an ONNX or TensorFlow Lite file"),
    "one array": (lambda: b"\x93NUMPY\x01\x00" + bytes(99), "it is one numpy array without a name."),
    "TensorFlow": (lambda: bytes(range(40)) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "it is part of a TensorFlow checkpoint."),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_holds_no_weights_says_what_it_seems_to_be(tmp_path, kind, ending):
    make, said = FILES[kind]
    path = tmp_path / f"w{ending}"
    path.write_bytes(make())
    with pytest.raises(GatebenchError) as refused:
        read_weights(path)
    assert str(refused.value).startswith(f"{path} {UNREADABLE}{said}")


@pytest.mark.parametrize("name", ["w.ckpt.data-00000-of-00001", "w.index", "graph.pb", "checkpoint"])
def test_parts_of_a_tensorflow_checkpoint_are_known_by_their_names(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\x05" * 50)
    with pytest.raises(GatebenchError, match="it is part of a TensorFlow checkpoint"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("old", [False, True])
def test_nothing_that_a_file_asks_for_is_run(tmp_path, old):
    mark = tmp_path / "mark"
    for number, content in enumerate(({"state_dict": STATE, "x": Hostile(mark)}, Hostile(mark), [argparse.Namespace(x=Hostile(mark))])):
        path = written(content, tmp_path / f"{number}.pt", _use_new_zipfile_serialization=not old)
        with pytest.raises(GatebenchError, match="it holds eval, which only code can build"):
            read_weights(path)
    assert not mark.exists()


def test_objects_beside_weights_are_not_made(tmp_path):
    """Stand-ins are: no state of a numpy type or a path is taken from a file."""
    before = {*torch.serialization.get_safe_globals()}
    content, _ = read_weights(written({"state_dict": STATE, **beside()}, tmp_path / "w.pt"))
    assert content["log"] == {"loss": [0.1]} and content["last"] == [1, 2] and content["size"] == torch.Size([3])
    for name in ("args", "acc", "curve", "took", "frozen", "optimizer"):
        assert isinstance(content[name], StandIn) and not vars(content[name]), name
    assert {*torch.serialization.get_safe_globals()} == before


def test_a_file_that_goes_in_circles_ends(tmp_path):
    circle: dict = {"state_dict": STATE}
    circle["self"], circle["many"] = circle, [[[[circle] * 50] * 50] * 50] * 50
    assert fill_from(Net(), written(circle, tmp_path / "w.pt")) == ["w.pt: took 'state_dict'."]


def test_a_layer_that_has_seen_no_input_takes_any_shape(tmp_path):
    lazy, saved = nn.Sequential(nn.LazyLinear(3)), nn.Sequential(nn.Linear(7, 3))
    assert fill_from(lazy, written(named("module.", saved.state_dict()), tmp_path / "w.pt")) == [f"w.pt: {MODULE}"]
    assert equal(lazy, saved.state_dict())


def test_names_that_a_network_converts_itself_are_taken(tmp_path):
    """torch's weight_norm takes the names that it had before."""
    make = {"old": nn.utils.weight_norm, "new": nn.utils.parametrizations.weight_norm}
    with pytest.warns(FutureWarning):
        saved = make["old"](nn.Linear(3, 2))
    model = make["new"](nn.Linear(3, 2))
    fill_from(model, written({"model": named("module.", saved.state_dict())}, tmp_path / "w.pt"))
    assert torch.allclose(model.weight, saved.weight)


def test_training_starts_from_weights_in_wrappers(tmp_path):
    """Those of a network without gates, and a library's with another head."""
    net = registry.create("resnet8", 5, (3, 16, 16))
    other = registry.create("resnet8", 5, (3, 16, 16))
    content = {"state_dict": named("module.", other.state_dict())}
    assert start_from(net, written(content, tmp_path / "w.pt")) == [f"w.pt: took 'state_dict', {MODULE}"] and equal(net, other.state_dict())
    options = {"network": "torchvision:squeezenet1_1", "pretrained": False}
    small, large = (registry.create("expert", classes, (3, 32, 32), **options) for classes in (5, 10))
    content = {"model": named("_orig_mod.", large.network.state_dict()), "ema": {}}
    assert start_from(small, written(content, tmp_path / "e.pt")) == ["e.pt: took 'model', left out the prefix '_orig_mod.' of all names."]
    assert torch.equal(small.network.features[0].weight, large.network.features[0].weight)


def test_what_does_not_fit_is_counted():
    wanted = {"a": torch.ones(2), "b": torch.ones(3), "bn.num_batches_tracked": torch.tensor(0)}
    assert mismatch(wanted, {"a": torch.ones(2), "b": torch.ones(3)}) == ""
    assert mismatch(wanted, {"a": torch.ones(2), "c": torch.ones(1)}) == (
        "they lack 1 of the network's 3 tensors (b); they have 1 that the network has not (c)"
    )
    assert mismatch(wanted, [1]) == "there are no tensors by name"


OWN = """
import torch

class Net(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))

build = Net
"""


class Extra(nn.Linear):
    """What keeps a state of its own, which is no tensor."""

    def get_extra_state(self):
        return {"steps": 1}

    def set_extra_state(self, state):
        self.steps = state["steps"]


def test_states_that_are_no_tensors_do_not_count_as_values(tmp_path):
    saved, model = Extra(2, 2).state_dict(), Extra(2, 2)
    path = written({"model": saved, "ema": {**saved, "_extra_state": {"steps": 2}}}, tmp_path / "w.pt")
    assert fill_from(model, path) == ["w.pt: took 'model'."] and model.steps == 1
    path = written({"model": saved, "ema": {**saved, "bias": torch.ones(2), "_extra_state": {"steps": 2}}}, tmp_path / "e.pt")
    assert fill_from(model, path) == [f"e.pt: {said}" for said in ("took 'model'.", FITS_TOO.format("ema"))]


def test_a_layer_that_has_seen_no_input_wants_values(tmp_path):
    path = written({"0.weight": torch.empty(3, 7, device="meta"), "0.bias": torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(GatebenchError, match="0.weight has no values: it was saved on the meta device"):
        fill_from(nn.Sequential(nn.LazyLinear(3)), path)


def test_values_are_read_once_whatever_stands_beside_them(tmp_path, monkeypatch):
    devices, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **options: devices.append(options["map_location"]) or load(*given, **options))
    content, _ = read_weights(written({"state_dict": STATE, **beside()}, tmp_path / "w.pt"))
    assert devices.count("cpu") == 1 and len(devices) > 5 and torch.equal(content["state_dict"]["fc.bias"], STATE["fc.bias"])


def test_the_digest_of_a_file_follows_its_content(tmp_path):
    path = tmp_path / "w.pt"
    for content in (b"a" * 3_000_000, b"b"):
        path.write_bytes(content)
        assert file_digest(path) == hashlib.sha256(content).hexdigest()[:8]


def test_the_commands_say_on_stderr_what_was_left_out(gatebench, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    tensors = {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.ones(4), "fc.weight": torch.ones(10, 4), "fc.bias": torch.ones(10)}
    path = written({"state_dict": counted(named("module.", tensors)), "args": argparse.Namespace()}, tmp_path / "w.pt")
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8), np.arange(40) % 10
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    sizes = ["--inputs", "8", "--repeats", "5", "--max-seconds", "2", "--threads", "1"]
    command = ["--weights", str(path), "--dataset", str(tmp_path / "set.npz"), *sizes]
    done = gatebench("profile-latency", str(tmp_path / "own.py"), *command, "--out", str(tmp_path / "out"), "--json")
    said = f"gatebench: w.pt: took 'state_dict', {MODULE[:-1]}, left out 4 that are no weights (total_ops, total_params)."
    assert done.returncode in (0, 3) and said in done.stderr, done.stderr
    assert json.loads(done.stdout)[0]["network"] == "own" and "w.pt" not in done.stdout
    state = registry.create("resnet8", 10, (3, 16, 16)).state_dict()
    path = written(named("module.", state), tmp_path / "r.pt")
    done = gatebench("train", "resnet8", *STATIC, "--weights", str(path), "--out", str(tmp_path / "results"), "--json")
    assert done.returncode == 0 and f": r.pt: {MODULE}" in done.stderr and json.loads(done.stdout)[0]["model"] == "resnet8"
