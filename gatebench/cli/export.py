"""`gatebench export`."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..words import counted
from . import option
from .console import DataDir, Policy, Tradeoff, handle_errors, line, one_of, say, stderr

CHECKED = 256
"""Test images on which files and network are compared."""


@handle_errors
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    format_: Annotated[str, option.results("--format", metavar="onnx|openvino", help="Of the files.")] = "onnx",
    precision: Annotated[str, option.results(metavar="fp32|bf16|int8", help="To compute in; bf16 with openvino.")] = "fp32",
    policy: Policy = None,
    tradeoff: Tradeoff = None,
    out: Annotated[Path | None, option.results(help="Folder or NAME.onnx. Default: in exported/.", show_default=False)] = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, option.results("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a trained network as a model that skips what it decides to leave out, with a small program that runs it.

    What is written is compared with the network on real images.
    """
    kind = one_of(format_, "--format", ("onnx", "openvino"))
    with stderr.status("loading torch"):
        from ..data.catalogue import data_root
        from ..export.check import check
        from ..export.place import check_place, put
        from ..export.samples import Samples
        from ..pieces import APART, TOGETHER
        from ..runs import RunFolder, slug
        from ..runtimes.bundle.openvino import has_bf16
        from ..runtimes.bundle.unscored import cut, ranging
        from ..runtimes.bundle.write import PRECISIONS, check_installed, converted, write, write_alone
        from ..training.view import View

    if one_of(precision, "--precision", ("fp32", "bf16", "int8")) not in PRECISIONS[kind]:
        raise UsageError(f"Files of {kind} compute in {' or '.join(PRECISIONS[kind])}. Give --format openvino for {precision}.")
    alone = out is not None and out.suffix == ".onnx"
    if alone and kind != "onnx":
        raise UsageError(f"{out} is one ONNX file. Leave out --format {kind}, or give --out the name of a folder.")
    check_installed(kind)
    point = [slug(str(each)) for each in (policy, tradeoff) if each is not None]
    path = out or Path("exported") / "-".join([run.resolve().name, *point, kind, precision])
    check_place(path, alone)
    with stderr.status("loading network and data"):
        samples = Samples(run, data_root(data_dir), policy, tradeoff)
        pieces = cut(samples.net, samples.data, *samples.statistics, TOGETHER if alone else APART)
    said = {**samples.said, "switches": [unit.name for unit in samples.net.units]}
    view = View(stderr, run.resolve().name)
    with view.counting("converts it", len(pieces), "piece") as done:
        models = converted(pieces, *samples.statistics, ranging(samples.data), done)
    images, x = samples.scored(CHECKED)
    if precision == "bf16" and not has_bf16():
        say("gatebench: this processor has no bf16, so OpenVINO runs the files in fp32 here, and so they are compared.")
    with tempfile.TemporaryDirectory(prefix="gatebench-") as home:
        made = Path(home) / ("network.onnx" if alone else "network")
        bundle = write_alone(made, models, precision, said) if alone else write(RunFolder(made), models, kind, precision, said)
        with view.counting("compares them with the network", len(images), "image") as done:
            checked = check(made, samples.net, images, x, precision, done)
        files = put(made, path)
    found = {key: value for key, value in vars(checked).items() if key != "name"}
    size = sum(each.stat().st_size for each in files)
    if as_json:
        place = {"file": str(path)} if alone else {"folder": str(path)}
        typer.echo(json.dumps({**place, "bytes": size, **found, "bundle": bundle}, indent=2))
        return
    parts = [each.relative_to(path).parts for each in files]
    what = "" if alone else f": {', '.join(dict.fromkeys(each[0] + '/' * (len(each) > 1) for each in parts))}"
    line(f"written to {path}{what}, {size / 1e6:.1f} MB")
    others = [f"{checked.turned} are decided about otherwise"] if checked.turned else []
    others += [f"{checked.relabelled} get another class"] if checked.relabelled else []
    same = f"logits differ by {checked.apart:.1e} of the largest at most"
    line(f"of {counted(checked.images, 'test image')}, {' and '.join(others) or 'all get the same decisions and classes'}; {same}")
    if not alone:
        line(f"next: python {path / 'run.py'} IMAGE.npy")
