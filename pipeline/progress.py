"""Checkpoints of unfinished training: a killed run goes on from the last one and ends with the same numbers.

One safetensors file per run holds weights, optimizer moments, the random generator and the rows logged so far. Its name
carries the step and the hash of its bytes, so a damaged file is never read: training starts over and says so.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from pipeline.files import write_atomically


class Progress:
    """The checkpoint of one run. ``fingerprint`` names everything the run depends on; another one is ignored."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def save(
        self,
        step: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        rows: dict[str, list[dict[str, Any]]],
    ) -> None:
        """Write the state after ``step`` steps and remove the earlier checkpoint."""
        tensors = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        tensors["generator"] = generator.get_state()
        header = {"fingerprint": self.fingerprint, "step": str(step), "rows": json.dumps(rows)}
        content = save({name: value.contiguous() for name, value in tensors.items()}, header)
        path = self.folder / f"{step}-{hashlib.sha256(content).hexdigest()}.safetensors"
        write_atomically(path, content)
        for other in self.folder.iterdir():
            if other != path:
                other.unlink()

    def restore(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        """Put the newest sound checkpoint into the arguments; the number of steps done and the rows logged, or (0, {})."""
        files = sorted(self.folder.glob("*-*.safetensors"), key=lambda path: -int(path.name.split("-")[0]))
        for path in files:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != path.stem.split("-")[1]:
                print(f"{path}: damaged (its hash is not the one in its name); not used", file=sys.stderr)
                continue
            header_size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + header_size])["__metadata__"]
            if header["fingerprint"] != self.fingerprint:
                print(f"{path}: from other settings or inputs; not used", file=sys.stderr)
                continue
            self._load(load(content), model, optimizer, generator)
            return int(header["step"]), json.loads(header["rows"])
        return 0, {}

    def _load(
        self,
        tensors: dict[str, torch.Tensor],
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
                keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"optimizer.{key}.{name}" in tensors]
                optimizer.state[parameter] = {key: tensors[f"optimizer.{key}.{name}"] for key in keys}
        generator.set_state(tensors["generator"])

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
