"""What the measurements were made on."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .conditions import Conditions

WIDEST = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 with bf16", "avx512_f": "AVX-512", "avx2": "AVX2"}
"""Of a processor's features the one that decides most, as machines' names have it."""


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """The processor's instruction sets that decide how fast it trains."""
    wanted = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
    if hasattr(torch.cpu, "get_capabilities"):
        return [name for name in wanted if torch.cpu.get_capabilities().get(name)]
    try:  # before torch 2.11 or so: Linux only
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split()
    except (OSError, TypeError):
        return []
    return [name for name in wanted if name.replace("avx512_f", "avx512f") in flags]


def computes_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, so that bf16 is faster than fp32 rather than half as fast."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(feature in ("avx512_bf16", "amx_bf16") for feature in cpu_features())


def git_commit() -> str | None:
    """Commit of the checkout this code runs from, with `+` where files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here.parent:  # installed inside somebody else's repository
            return None
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def machine_name(device: torch.device) -> str:
    """What tells machines apart: GPU where that is the device, CPU, number of cores, and its widest instructions, since clouds give
    several CPUs one name."""
    features = cpu_features()
    widest = next((label for feature, label in WIDEST.items() if feature in features), None)
    name = ", ".join(filter(None, (cpu_name(), f"{os.cpu_count() or 1} cores", widest)))
    return f"{torch.cuda.get_device_properties(device).name}; {name}" if device.type == "cuda" else name


def conditions(device: str, threads: int) -> Conditions:
    """Those of a timing on this machine."""
    return Conditions(machine_name(torch.device(device)), device, threads)


def describe(device: torch.device) -> dict:
    """Hardware, system and versions: the contents of `machine.json`."""
    gpu = {}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        gpu = {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return {
        "name": machine_name(device),
        "cpu": cpu_name(),
        "cpu_features": cpu_features(),
        "cores": os.cpu_count() or 1,
        "caches": _caches(),
        "threads": torch.get_num_threads(),
        **gpu,
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("gatebench", "torch", "torchvision", "numpy")},
        "commit": git_commit(),
    }


def state(device: torch.device) -> dict:
    """What may change times at this moment: load, clock rate and governor; of a GPU its clock, power, temperature and throttling."""
    now = {"load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None, "governor": _read("cpu0/cpufreq/scaling_governor")}
    rate = _read("cpu0/cpufreq/scaling_cur_freq")
    now["cpu_mhz"] = int(rate) / 1000 if rate else None
    if device.type == "cuda":
        now |= _gpu_state(device)
    return {key: value for key, value in now.items() if value is not None}


def _read(name: str) -> str | None:
    try:
        return (Path("/sys/devices/system/cpu") / name).read_text().strip()
    except OSError:
        return None


def _gpu_state(device: torch.device) -> dict:
    try:
        pynvml, handle = nvml(device)
    except RuntimeError:
        return {}
    try:
        return {
            "gpu_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "gpu_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "gpu_celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "gpu_throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
        }
    except pynvml.NVMLError:
        return {}


def nvml(device: torch.device) -> tuple[ModuleType, Any]:
    """NVIDIA's management library, and its handle of the device.

    Raises RuntimeError without nvidia-ml-py (the extra `gpu`), and where it fails.
    """
    try:
        import pynvml
    except ImportError as error:
        raise RuntimeError("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError as error:
        raise RuntimeError(str(error)) from error


def _caches() -> dict[str, str]:
    """Sizes of the first core's caches, by level: {"L1d": "48K", ...}."""
    sizes = {}
    for index in range(8):
        level, kind, size = (_read(f"cpu0/cache/index{index}/{name}") for name in ("level", "type", "size"))
        if level and size:
            sizes[f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '') }"] = size
    return sizes


def peak_memory_mb() -> float | None:
    """The most memory this process has held, in MB; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
