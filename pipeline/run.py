"""``python -m pipeline run``: the whole graph of a profile, warm starts and cells side by side, the rest by `dvc repro`.

`dvc repro` is sequential, so the stages with many independent items are fanned out here over worker processes, each of
which imports torch once and then works item by item; what they wrote is handed to DVC with `dvc commit`. Which items are
due is DVC's own answer (`dvc status`). Everything else is a plain `dvc repro`. The last step
writes the profile's manifest.

A killed run loses nothing that was finished: an item whose record matches its inputs is not run again.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

from pipeline import config as settings
from pipeline import manifest, stages
from pipeline.config import Cell, Config
from pipeline.errors import InputError
from pipeline.graph import address, cell_stage, model_stage
from pipeline.layout import Layout

COMMIT_SECONDS = 15.0
Item = str | Cell


def run(profile: str, jobs: int | None, reviews: Path | None, labels: Path | None, dry_run: bool) -> None:
    """Run ``profile`` to its report and print the report's path as the last line. Raises InputError for bad input."""
    config = settings.load(profile)
    if dry_run:
        _dry_run(config, reviews, labels)
        return
    jobs = jobs or os.cpu_count() or 1
    with _alone(config), _terminable():
        if config.reviews:
            from pipeline import intake

            intake.bring_in(config, reviews, labels)
        else:
            _refuse_files(config, reviews, labels)
        _repro(config, "prepare")
        names, cells = config.models_to_train(), list(config.all_cells())
        _fan_out(config, "warm starts", [(address(config, model_stage(config, name)), name) for name in names], jobs)
        _repro(config, "calibrate")
        _fan_out(config, "cells", [(address(config, cell_stage(config, cell)), cell) for cell in cells], jobs)
        _repro(config)
        manifest.write(Layout(profile))
    print(Layout(profile).html)


def _dry_run(config: Config, reviews: Path | None, labels: Path | None) -> None:
    """Settings and input validated in full; nothing is written."""
    from pipeline import intake
    from pipeline.prepare import plan

    if config.reviews:
        config = intake.pointed_at(config, reviews, labels)
    else:
        _refuse_files(config, reviews, labels)
    splits, facts, _ = plan(config)
    for name, value in facts.items():
        print(f"{name}: {value}")
    print(f"groups: {', '.join(f'{split} {len(groups)}' for split, groups in splits.items())}")
    cells = len(list(config.all_cells()))
    print(
        f"settings and input are valid: {len(config.models_to_train())} warm starts and {cells} cells; nothing was trained"
    )


def _refuse_files(config: Config, reviews: Path | None, labels: Path | None) -> None:
    if reviews or labels:
        raise InputError(f"--reviews, --labels: the profile {config.profile} generates its data; expected neither")


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold the profile's lock; a second `run` of it in this checkout is refused."""
    path = Layout(config.profile).runs / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path}: held by another run of this profile; expected to be alone, wait for it") from None
        yield


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


def _dvc(*arguments: str) -> str:
    """Run DVC with this interpreter's environment; its standard output. Raises InputError, what it said above it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line and not line.endswith("skipping")]
        print("\n".join(said), file=sys.stderr)
        raise InputError(f"dvc {arguments[0]} failed (exit {done.returncode}); the reason stands above")
    return done.stdout


def _repro(config: Config, stage: str | None = None) -> None:
    print(f"{stage or 'evaluate, aggregate, check, report'} ...", flush=True)
    file = str(settings.dvc_file(config.profile))
    _dvc("repro", file if stage is None else f"{file}:{stage}")


def _fan_out(config: Config, what: str, items: list[tuple[str, Item]], jobs: int) -> None:
    """Run the items of the stages that are due, given as (DVC address, item), in ``jobs`` processes.

    A stage is handed to DVC when the last of its items is done. Raises InputError after all if any failed.
    """
    changed = json.loads(_dvc("status", "--json", *dict(items)))
    due = [(address, item) for address, item in items if address in changed]
    print(f"{what}: {len(items) - len(due)} of {len(items)} up to date, {len(due)} to run, {jobs} at a time", flush=True)
    if not due:
        return
    failed: list[str] = []
    finished: list[str] = []
    broken: set[str] = set()
    left = Counter(address for address, _ in due)
    committed = started = time.monotonic()
    pool = ProcessPoolExecutor(min(jobs, len(due)), get_context("spawn"), _begin_worker, (os.getpid(),))
    try:
        futures: dict[Future[None], tuple[str, Item]] = {pool.submit(_work, config, one[1]): one for one in due}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=COMMIT_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                (address, item), problem = futures[future], future.exception()
                left[address] -= 1
                if problem:
                    failed.append(item.name if isinstance(item, Cell) else item)
                    print(f"{failed[-1]}: failed: {type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
                    broken.add(address)
                elif left[address] == 0 and address not in broken:
                    finished.append(address)
                _say(what, len(due), len(due) - len(pending), jobs, time.monotonic() - started)
            if finished and (not pending or time.monotonic() - committed > COMMIT_SECONDS):
                _dvc("commit", "--quiet", "--force", *finished)
                finished, committed = [], time.monotonic()
    except BaseException:
        for process in list(pool._processes.values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    if failed:
        raise InputError(f"{what}: {len(failed)} of {len(due)} failed ({', '.join(failed)}); the others are kept")


def _say(what: str, total: int, done: int, jobs: int, elapsed: float) -> None:
    left = total - done
    running = min(jobs, left)
    print(
        f"{what}: {done} done, {running} running, {left - running} waiting, "
        f"elapsed {_clock(elapsed)}, about {_clock(elapsed / done * left)} to go",
        flush=True,
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _begin_worker(parent: int) -> None:
    """Import the heavy part once, and end with the parent even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch(sleep: Callable[[float], None]) -> None:
        while os.getppid() == parent:
            sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, args=(time.sleep,), daemon=True).start()


def _work(config: Config, item: Item) -> None:
    if isinstance(item, Cell):
        stages.cell(config, item)
    else:
        stages.sft(config, item)
