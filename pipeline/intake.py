"""A user's files: checked in full where they lie, then copied to the git-ignored place where the graph depends on them."""

import dataclasses
import shutil
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.files import sha256_of
from pipeline.tasks import load_task


def pointed_at(config: Config, reviews: Path | None, labels: Path | None) -> Config:
    """The settings with the user's own paths in place of the copies'. Raises InputError where a file is missing."""
    assert config.reviews is not None
    if reviews is None:
        if labels is not None:
            raise InputError("--labels: given without --reviews; expected both, as labels name reviews of that file")
        if not Path(config.reviews.file).is_file():
            raise InputError(f"--reviews: missing; the profile {config.profile} needs an Amazon Reviews file")
        return config
    if labels is not None and not labels.is_file():
        raise InputError(f"{labels}: not found or not a file; expected the labels file that --labels names")
    own = dataclasses.replace(config.reviews, file=str(reviews), labels=None if labels is None else str(labels))
    return dataclasses.replace(config, reviews=own)


def bring_in(config: Config, reviews: Path | None, labels: Path | None) -> None:
    """Copy the files in, unless the same are there. Without ``reviews`` the copies of an earlier run are used.

    The files are first read as `prepare` will read them, so a bad one is refused while earlier results are untouched.
    """
    assert config.reviews is not None
    own = pointed_at(config, reviews, labels)
    if reviews is None:
        return
    load_task(config.task.module).groups(own)
    _copy(reviews, Path(config.reviews.file))
    if config.reviews.labels is None and labels is not None:
        raise InputError("reviews.labels: found null; expected a path of the checkout to copy --labels to")
    if config.reviews.labels is not None:
        if labels is None:
            Path(config.reviews.labels).unlink(missing_ok=True)
        else:
            _copy(labels, Path(config.reviews.labels))


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and sha256_of(source) == sha256_of(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
