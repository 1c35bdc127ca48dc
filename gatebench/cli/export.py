"""`gatebench export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..words import counted
from . import option
from .console import DataDir, handle_errors, line, one_of, stderr

CHECKED = 256
"""Test images on which files and network are compared."""


@handle_errors
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    format_: Annotated[str, option.results("--format", metavar="onnx|openvino", help="Of the files.")] = "onnx",
    precision: Annotated[str, option.results(metavar="fp32|bf16|int8", help="To compute in; bf16 with openvino.")] = "fp32",
    out: Annotated[Path | None, option.results(help="Folder to write. Default: exported/RUN-FORMAT-PRECISION.", show_default=False)] = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, option.results("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a trained network as files that skip what it decides to leave out, with a small program that runs them.

    What is written is compared with the network on real images.
    """
    kind = one_of(format_, "--format", ("onnx", "openvino"))
    with stderr.status("loading torch"):
        import torch

        from ..data.catalogue import data_root
        from ..export.check import check
        from ..export.samples import Samples
        from ..runs import RunFolder
        from ..runtimes.bundle.common import RANGES, common, unscored
        from ..runtimes.bundle.write import PRECISIONS, check_installed, converted, write
        from ..training.view import View

    if one_of(precision, "--precision", ("fp32", "bf16", "int8")) not in PRECISIONS[kind]:
        raise UsageError(f"Files of {kind} compute in {' or '.join(PRECISIONS[kind])}. Give --format openvino for {precision}.")
    check_installed(kind)
    with stderr.status("loading network and data"):
        samples = Samples(run, data_root(data_dir))
        pieces = samples.net.pieces(common(samples.net, samples.data, *samples.statistics))
    folder = RunFolder(out or Path("exported") / f"{run.resolve().name}-{kind}-{precision}")
    view = View(stderr, run.resolve().name)
    with view.counting("writes files", len(pieces), "files") as done:
        models = converted(pieces, *samples.statistics, torch.from_numpy(unscored(samples.data, RANGES).pixels), done)
    bundle = write(folder, models, kind, precision, {**samples.said, "switches": [unit.name for unit in samples.net.units]})
    images, x = samples.scored(CHECKED)
    with view.counting("compares them with the network", len(images), "images") as done:
        checked = check(folder.path, samples.net, images, x, precision, done)
    size = sum((folder / each.name).stat().st_size for each in folder.path.iterdir() if each.is_file())
    if as_json:
        said = {"folder": str(folder.path), "files": len(bundle["pieces"]), "bytes": size, **vars(checked)}
        typer.echo(json.dumps({**said, "bundle": bundle}, indent=2))
        return
    line(f"written to {folder.path}: {counted(len(bundle['pieces']), 'file')}, {size / 1e6:.1f} MB, bundle.json and run.py")
    others = [f"{checked.turned} are decided about otherwise"] if checked.turned else []
    others += [f"{checked.relabelled} get another class"] if checked.relabelled else []
    same = f"logits differ by {checked.apart:.1e} of the largest at most"
    line(f"of {counted(checked.images, 'test image')}, {' and '.join(others) or 'all get the same decisions and classes'}; {same}")
    line(f"next: python {folder.path / 'run.py'} IMAGE.npy")
