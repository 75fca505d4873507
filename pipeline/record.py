"""The run record: what made a result, apart from the result. Shown in the report, never compared."""

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.files import sha256_of, write_json

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

    def finish(self, path: Path, outputs: Sequence[Path], **more: Any) -> None:
        """Write the record to ``path``, last of all: wall time in seconds, peak memory in MiB, hashes of the outputs."""
        record = {
            **self.facts,
            **more,
            "wall_seconds": round(time.time() - self.started, 2),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "outputs": {output.as_posix(): sha256_of(output) for output in outputs},
        }
        write_json(path, record)


def is_finished(path: Path, fingerprint: str) -> bool:
    """Does the record at ``path`` stand for a finished run of the same inputs whose outputs are still as it left them?"""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        outputs = {Path(output): digest for output, digest in record["outputs"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    same = record.get("fingerprint") == fingerprint
    return same and all(output.exists() and sha256_of(output) == digest for output, digest in outputs.items())
