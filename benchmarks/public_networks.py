"""What adaptive networks in public repositories execute, and how long they take: the table in docs/networks.md.

    python benchmarks/public_networks.py REPOSITORIES [--data-dir DIR] [--inputs 32] [--repeats 20] [--max-seconds 30]

REPOSITORIES is a folder with clones of the repositories that benchmarks/public/*.py name, at the commits that stand there. No file of
theirs is changed; the factories of benchmarks/public/ make the networks, with random weights. Takes a quarter of an hour on one thread.
Output in results/benchmarks/public-networks.txt.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

PUBLIC = Path(__file__).parent / "public"
SMALL, LARGE = ("--dataset", "cifar10"), ("--dataset", "intel-scenes")
CASES: list[tuple[str, str | None, tuple[str, ...]]] = [
    ("shallow_deep.py:resnet56", "shallow_deep.py:resnet56_full", SMALL),
    ("shallow_deep.py:vgg16", "shallow_deep.py:vgg16_full", SMALL),
    ("shallow_deep.py:resnet56_forward", None, SMALL),
    ("skipnet.py:recurrent_as_published", None, SMALL),
    ("skipnet.py:recurrent", "skipnet.py:full", SMALL),
    ("skipnet.py:feedforward", None, SMALL),
    ("skipnet.py:feedforward", "skipnet.py:full", (*SMALL, "--batch-size", "2")),
    ("skipnet.py:feedforward_twice", None, SMALL),
    ("skipnet.py:reinforced", None, SMALL),
    ("skipnet.py:reinforced_twice", None, SMALL),
    ("skipnet_imagenet.py:recurrent_twice", None, LARGE),
    ("aig.py:as_published", None, SMALL),
    ("aig.py:resnet110", "resnet110", SMALL),
    ("aig.py:resnet50", None, LARGE),
    ("msdnet.py:all_exits", None, SMALL),
    ("msdnet.py:early", "msdnet.py:early_full", SMALL),
    ("dynconv.py:cifar", "dynconv.py:cifar_full", SMALL),
    ("dynconv.py:imagenet", "dynconv.py:imagenet_full", LARGE),
    ("dynconv_pose.py:stacked_hourglass", None, SMALL),
    ("dynamicvit.py:deit_s", "dynamicvit.py:deit_s_full", LARGE),
    ("dynamicvit.py:convnext_t", "dynamicvit.py:convnext_t_full", LARGE),
    ("dynamicvit.py:swin_t", None, LARGE),
]
"""Network, what it is compared with, and options."""


def profile(network: str, rival: str | None, options: list[str], repositories: Path) -> tuple[list[dict], str]:
    """The rows of `gatebench profile-latency`, and why there are none."""
    named = [str(PUBLIC / network), *(["--vs", str(PUBLIC / rival) if ".py" in rival else rival] if rival else [])]
    command = [sys.executable, "-W", "ignore", "-m", "gatebench", "profile-latency", *named, *options, "--json", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "REPOSITORIES": str(repositories.resolve())})
    said = [line.removeprefix("gatebench: ") for line in done.stderr.splitlines() if line.startswith("gatebench: ")]
    why = said[-1] if said else done.stderr.strip()[-200:]
    return json.loads(done.stdout or "[]"), why.replace(f"{PUBLIC.resolve()}{os.sep}", "")


def cells(row: dict) -> list[str]:
    """MACs, over those of the rival, speed-up, milliseconds, findings."""
    least, mean, most = (row[f"timed_macs_{name}"] / 1e6 for name in ("least", "executed", "most"))
    macs = f"{mean:,.1f}" + (f" ({least:,.1f} to {most:,.1f})" if most > least else ", the same")
    saving = f"{row['timed_saving_pct']:.1f}" if "timed_saving_pct" in row else ""
    speed = f"{row['speedup']:.2f} ({row['speedup_low']:.2f} to {row['speedup_high']:.2f})" if "speedup" in row else ""
    kinds = "; ".join(each.partition(":")[0] for each in row.get("timed_audit", []))
    return [macs, saving, speed, f"{row['latency_ms']:.2f}", kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--data-dir")
    for name, default in (("inputs", 32), ("repeats", 20), ("max-seconds", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    chosen = ((f"--{name.replace('_', '-')}", given[name]) for name in ("data_dir", "inputs", "repeats", "max_seconds"))
    options = [str(each) for pair in chosen if pair[1] for each in pair]
    table = Table("network", "M MACs (least to most)", "saving %", "speed-up", "ms", "findings, or why not")
    for network, rival, own in CASES:
        rows, why = profile(network, rival, [*own, *options], given["repositories"])
        name = network.replace(".py", "") + (", batch 2" if "2" in own else "")
        table.add_row(name, *(cells(rows[0]) if rows else ["", "", "", "", why]))
    Console().print(table)


if __name__ == "__main__":
    main()
