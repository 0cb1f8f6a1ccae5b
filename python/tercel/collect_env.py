"""What this build and this machine offer: `tercel info` or `python -m tercel.collect_env`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import tercel


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    try:
        text = Path("/proc/meminfo").read_text()
        fields = dict(line.split(":") for line in text.splitlines())
        total, free = (int(fields[k].split()[0]) / 2**20 for k in ("MemTotal", "MemAvailable"))
        return f"{total:.1f} GiB, {free:.1f} GiB available"
    except (OSError, KeyError, ValueError):
        return "unknown"


def _cuda() -> str:
    """The devices, or why there are none."""
    try:
        tercel.zeros(1).to("cuda")
    except RuntimeError as error:
        return str(error).split(": ", 1)[-1]
    return ", ".join(tercel.cuda.get_device_name(i) for i in range(tercel.cuda.device_count()))


def collect() -> dict[str, str]:
    """Name -> value, everything as text."""
    config = tercel._core._config()
    stats = tercel.memory_stats()
    caches = " / ".join(f"{n // 1024} KiB" for n in config["cache_bytes"])
    return {
        "tercel": f"{config['version']} (git {config['git_hash']}), {config['compiler']}",
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.platform()}",
        "NumPy": _version("numpy"),
        "processor": str(config["cpu_model"]),
        "processor flags": " ".join(config["cpu_flags"]),
        "caches L1d / L2 / L3": caches,
        "memory": _memory(),
        "ISA levels built": " ".join(config["levels_built"]),
        "ISA levels found": " ".join(config["levels_found"]),
        "ISA chosen": f"{config['isa']} (kernels of level {config['level']}; "
        f"TERCEL_ISA={os.environ.get('TERCEL_ISA', 'not set')})",
        "threads": f"{config['num_threads']} (default {config['default_num_threads']}: "
        f"{config['default_num_threads_reason']})",
        "allocator": f"{config['allocator']}, {stats['allocated_bytes']} bytes in use, "
        f"{stats['reserved_bytes']} held",
        "CUDA": _cuda(),
    }


def report() -> str:
    return "\n".join(f"{name + ':':22s} {value}" for name, value in collect().items())


def show_config() -> None:
    """Prints the report."""
    print(report())


if __name__ == "__main__":
    print(report())
