"""Energy of a call: the rise of the device's energy counter while one network runs again and again.

The counter is that of the whole device (board or package) and includes idle power and whatever else runs there. A call is far shorter
than its steps, so each network runs alone for some tenths of a second, in turns with the others.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .machine import nvml

POWERCAP = Path("/sys/class/powercap")
ROUNDS = 10
"""The median of fewer has a bootstrap interval that misses it too often (of seven: 12 % of the time, where 5 % are meant)."""
SECONDS = 0.4
"""A network runs so long in each round."""


class GpuCounter:
    """NVML's counter (Volta and newer). Raises RuntimeError where there is none."""

    def __init__(self, device: torch.device):
        pynvml, handle = nvml(device)
        self._read = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        try:
            self._read()
        except pynvml.NVMLError as error:
            raise RuntimeError(str(error)) from error

    def joules(self) -> float:
        """Since the driver was loaded, once all launched work is done."""
        torch.cuda.synchronize()
        return self._read() / 1e3


class CpuCounter:
    """Linux' power capping interface: the sum of the processor packages. Raises RuntimeError where it is missing or not readable."""

    def __init__(self, folder: Path = POWERCAP):
        self.zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]  # AMD's have that name too
        try:
            self.last = [self._microjoules(zone, "energy_uj") for zone in self.zones]
            self.ranges = [self._microjoules(zone, "max_energy_range_uj") for zone in self.zones]
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{folder} cannot be read") from error
        if not self.zones:
            raise RuntimeError(f"{folder} has no counter")
        self.total = 0

    def joules(self) -> float:
        """Since the counter was opened. Holds where a zone has wrapped around at most once since the last reading."""
        now = [self._microjoules(zone, "energy_uj") for zone in self.zones]
        self.total += sum((new - old) % most for new, old, most in zip(now, self.last, self.ranges, strict=True))
        self.last = now
        return self.total / 1e6

    @staticmethod
    def _microjoules(zone: Path, name: str) -> int:
        return int((zone / name).read_text())


Counter = GpuCounter | CpuCounter


def counter_for(device: torch.device) -> Counter | None:
    """The device's counter, None where it has none that can be read."""
    try:
        return GpuCounter(device) if device.type == "cuda" else CpuCounter()
    except RuntimeError:
        return None


def joules_per_call(
    works: Sequence[Callable[[int], object]], calls: int, counter: Counter, *, rounds: int = ROUNDS, seconds: float = SECONDS, seed: int = 0
) -> np.ndarray:
    """Joules of a call, [rounds, works]. A work takes the number of a call; it repeats all `calls`, and the works take turns at random."""
    draw = np.random.default_rng(seed)
    joules = np.empty((rounds, len(works)))
    for number in range(rounds):
        for index in draw.permutation(len(works)):
            done, before, started = 0, counter.joules(), time.perf_counter()
            while done < calls or time.perf_counter() - started < seconds:
                works[index](done % calls)
                done += 1
            joules[number, index] = (counter.joules() - before) / done
    return joules
