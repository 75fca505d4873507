"""The run record: what made a result, apart from the result. Shown in the report, never compared."""

import os
import platform
import resource
import subprocess
import time
from importlib.metadata import version
from typing import Any

PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy", "scipy", "dvc")


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Recorder:
    """Started before a run; `finish` gives the record. ``dirty`` means that source or settings differ from the commit."""

    def __init__(self, command: str, threads: int, fingerprint: str) -> None:
        self.started = time.time()
        changes = _git("status", "--porcelain", "--", ".", ":!reports", ":!*dvc.lock", ":!bundle")
        self.facts: dict[str, Any] = {
            "command": command,
            "fingerprint": fingerprint,
            "commit": _git("rev-parse", "HEAD"),
            "dirty": None if changes is None else bool(changes),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
        }

    def finish(self, **more: Any) -> dict[str, Any]:
        """The record with wall time in seconds and the process's peak memory in MiB."""
        return {
            **self.facts,
            **more,
            "wall_seconds": round(time.time() - self.started, 2),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
