"""Where each stage writes. Paths are relative to the root of the checkout; the profile's name is in every one.

``runs/`` is git-ignored and DVC-cached (data, models, checkpoints); ``reports/`` is committed for the default profile.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import DEFAULT_PROFILE, Cell


@dataclass(frozen=True)
class Layout:
    profile: str

    @property
    def runs(self) -> Path:
        return Path("runs") / self.profile

    @property
    def reports(self) -> Path:
        return Path("reports") / self.profile

    @property
    def data(self) -> Path:
        return self.runs / "data"

    def groups(self, split: str) -> Path:
        return self.data / f"{split}.jsonl"

    @property
    def tokenizer(self) -> Path:
        return self.data / "tokenizer"

    @property
    def data_facts(self) -> Path:
        return self.reports / "data.json"

    def model(self, name: str) -> Path:
        return self.runs / "sft" / name

    def sft_record(self, name: str) -> Path:
        return self.reports / "sft" / name

    def cell_model(self, cell: Cell) -> Path:
        return self.runs / "cells" / cell.name

    def cell_record(self, cell: Cell) -> Path:
        return self.reports / "cells" / cell.name

    def progress(self, name: str) -> Path:
        return self.runs / "progress" / name

    @property
    def calibration(self) -> Path:
        return self.reports / "calibration.json"

    @property
    def metrics(self) -> Path:
        return self.reports / "metrics"

    def cell_metrics(self, cell: Cell) -> Path:
        return self.metrics / f"{cell.name}.json"

    def sft_metrics(self, name: str) -> Path:
        return self.metrics / "sft" / f"{name}.json"

    @property
    def aggregate(self) -> Path:
        return self.reports / "aggregate.json"

    @property
    def summary(self) -> Path:
        return self.reports / "metrics.json"

    @property
    def plots(self) -> Path:
        return self.reports / "plots"

    @property
    def verdicts(self) -> Path:
        return self.reports / "verdicts.json"

    @property
    def html(self) -> Path:
        return self.reports / "report.html"

    @property
    def manifest(self) -> Path:
        """Each profile has its own, so that a run of one leaves the others' true."""
        folder = Path("bundle") if self.profile == DEFAULT_PROFILE else self.reports
        return folder / "MANIFEST.sha256"
