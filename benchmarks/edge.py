"""Size, memory, opening time and accuracy of exported networks beside their static twins': results/benchmarks/edge.csv.

    python benchmarks/edge.py RUN... [--data-dir DATA] [--out FILE.csv]

Each network and its twin is written for each runtime and precision that the processor has, and run on the test images in a process of its
own, which has loaded numpy and the runtime before its memory is taken. It decides as it did where it was timed last, in results/edge. What
is written: megabytes of the files, megabytes that the process grew by at most (on Linux), milliseconds until the first answer, and accuracy
in percent. The twin has the gated network's weights, everything on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from gatebench.data.catalogue import data_root
from gatebench.export.samples import Samples
from gatebench.pieces import APART, whole
from gatebench.row import TimeRow
from gatebench.rows import read_rows
from gatebench.runs import RunFolder
from gatebench.runtimes.bundle.openvino import has_bf16
from gatebench.runtimes.bundle.unscored import cut, ranging
from gatebench.runtimes.bundle.write import PRECISIONS, converted, write

MOST = 10_000
"""Images."""
ALONE = """
import json, re, sys, time
sys.path.insert(0, sys.argv[1])
import numpy, run
given = numpy.load(sys.argv[2])
images, labels = given["images"], given["labels"]
__import__(sys.argv[3])
memory = lambda kind: int(re.search(rf"{kind}:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = memory("VmRSS")
started = time.perf_counter()
network = run.Network(sys.argv[1])
network(images[0])
first = time.perf_counter() - started
right = sum(int(network(image).logits.argmax()) == label for image, label in zip(images, labels))
grown = memory("VmHWM") - before
print(json.dumps({"memory_mb": grown / 1024, "first_answer_ms": 1e3 * first, "accuracy": 100 * right / len(labels)}))
"""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def measured(folder: Path, images: Path, runtime: str) -> dict[str, float]:
    """One bundle in a process of its own."""
    done = subprocess.run([sys.executable, "-c", ALONE, folder, images, runtime], capture_output=True, text=True, check=True)
    files = sum(each.stat().st_size for each in folder.rglob("*.*") if each.name != "run.py")
    return {"files_mb": files / 1e6, **json.loads(done.stdout)}


def point(run: Path) -> tuple[str | None, float | None]:
    """The policy and trade-off that a run was timed at; none: its headline's."""
    sessions = sorted((run.resolve().parent / "edge" / run.resolve().name / "times").glob("*.jsonl"))
    row = read_rows(sessions[-1], TimeRow)[0] if sessions else {}
    return row.get("policy"), row.get("tradeoff")


def lines(run: Path, root: Path, home: Path) -> list[dict]:
    """A network's and its twin's, in every format and precision."""
    samples, made = Samples(run, root, *point(run)), []
    net, images, some = samples.net, home / "images.npz", samples.data.test[np.arange(min(MOST, len(samples.data.test)))]
    np.savez(images, images=some.pixels, labels=some.labels)
    twin, switches = next(iter(net.references().values()), None), [unit.name for unit in net.units]
    kinds = [("gated" if switches else "static", cut(net, samples.data, *samples.statistics, APART), switches)]
    kinds += [("static", whole(twin, net.macs_static), [])] if twin else []
    networks = [(kind, converted(pieces, *samples.statistics, ranging(samples.data)), names) for kind, pieces, names in kinds]
    for format_, precisions in PRECISIONS.items():
        for kind, models, names in networks:
            for precision in (each for each in precisions if each != "bf16" or has_bf16()):
                folder = home / f"{kind}-{format_}-{precision}"
                write(RunFolder(folder), models, format_, precision, {**samples.said, "switches": names})
                sizes = measured(folder, images, RUNTIMES[format_])
                made.append({"run": run.resolve().name, "network": kind, "runtime": RUNTIMES[format_], "precision": precision, **sizes})
                print(made[-1])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "benchmarks" / "edge.csv")
    given, made = parser.parse_args(), []
    for run in given.runs:
        with tempfile.TemporaryDirectory() as home:
            made += lines(run, data_root(given.data_dir), Path(home))
    pd.DataFrame(made).round(2).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
