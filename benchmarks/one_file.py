"""Time of one self-contained ONNX file over that of the files of a folder, in ONNX Runtime: results/benchmarks/one-file.txt.

    python benchmarks/one_file.py RUN... [--data-dir DATA] [--inputs 200] [--rounds 12]

One test image a call, one thread, fp32, interleaved. Prints milliseconds of both, and the ratio with its 95 % interval.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from gatebench.data.catalogue import data_root
from gatebench.export.check import one_file, runner
from gatebench.export.samples import Samples
from gatebench.measure import statistics
from gatebench.measure.clock import clock_for
from gatebench.measure.machine import describe
from gatebench.measure.protocol import Subject, measure
from gatebench.runs import RunFolder
from gatebench.runtimes.bundle.single import single
from gatebench.runtimes.bundle.unscored import RANGES, decided, unscored
from gatebench.runtimes.bundle.write import converted, write


def compared(run: Path, root: Path, home: Path, inputs: int, rounds: int) -> str:
    """A line on a network in both forms."""
    samples, device = Samples(run, root), torch.device("cpu")
    pieces = samples.net.pieces(decided(samples.net, samples.data, *samples.statistics))
    models = converted(pieces, *samples.statistics, torch.from_numpy(unscored(samples.data, RANGES).pixels))
    said = {**samples.said, "switches": [unit.name for unit in samples.net.units]}
    write(RunFolder(home / "files"), models, "onnx", "fp32", said)
    (home / "one.onnx").write_bytes(single(models, "fp32", said))
    (images, _), forms = samples.scored(inputs), {"files": runner(home / "files"), "one": one_file(home / "one.onnx")}
    subjects = [Subject(name, lambda number, answer=answer: answer(images[number])) for name, answer in forms.items()]
    times = measure(subjects, len(images), clock_for(device), rounds=rounds, max_seconds=600)
    files, one = (1e3 * times.of(name).mean() for name in forms)
    ratio = statistics.speedup(times.of("one"), times.of("files"))
    return (
        f"{run.resolve().name}: files {files:.3f} ms, one file {one:.3f} ms, {ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    print(describe(torch.device("cpu"))["name"])
    for run in given.runs:
        with tempfile.TemporaryDirectory() as home:
            print(compared(run, data_root(given.data_dir), Path(home), given.inputs, given.rounds), flush=True)


if __name__ == "__main__":
    main()
