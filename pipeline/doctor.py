"""``python -m pipeline doctor``: what is installed here, what the machine has, and whether the profile can run on it."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pipeline.config import Config
from pipeline.record import PACKAGES
from pipeline.words import counted

MEMORY_PER_JOB_GIB = 0.9
DISK_GIB = 1.0


def run(config: Config) -> int:
    """Print the findings; exit status 0 when the profile can run, 1 when something stands in the way."""
    obstacles = []
    print(f"python {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"  {name} {version(name)}")
        except PackageNotFoundError:
            print(f"  {name} missing")
            obstacles.append(f"{name} is not installed: run `make setup`")
    cores = os.cpu_count() or 1
    memory = psutil.virtual_memory().available / 2**30
    disk = shutil.disk_usage(Path.cwd()).free / 2**30
    print(f"cores {cores}, memory free {memory:.1f} GiB, disk free {disk:.1f} GiB, GPU: {_gpu()}")
    cells, warm_starts = len(list(config.all_cells())), len(config.models_to_train())
    threads = counted(config.compute.threads, "thread")
    print(f"profile {config.profile}: {warm_starts} warm starts and {cells} cells, {threads} each")
    jobs = min(cores, int(memory / MEMORY_PER_JOB_GIB))
    if jobs < 1:
        obstacles.append(f"memory: {memory:.1f} GiB free, {MEMORY_PER_JOB_GIB} GiB needed for each job")
    if disk < DISK_GIB:
        obstacles.append(f"disk: {disk:.1f} GiB free, {DISK_GIB} GiB needed")
    if config.reviews and not Path(config.reviews.file).is_file():
        print("  needs a review file: --reviews FILE (an earlier run's copy would do, there is none)")
    print(f"feasible with --jobs {jobs}" if not obstacles else "not feasible: " + "; ".join(obstacles))
    return 1 if obstacles else 0


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return "unknown (torch is not installed)"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
