"""The network of trust.py timed by pyperf, which starts this file anew for each of its processes."""

import os

import pyperf
import torch
from trust import network, set_threads


def main():
    runner = pyperf.Runner()
    runner.parse_args()
    set_threads(int(os.environ["TRUST_THREADS"]))
    with torch.inference_mode():
        runner.bench_func("network", network(), 0)


if __name__ == "__main__":
    main()
