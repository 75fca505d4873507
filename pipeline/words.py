"""Counts as a reader says them."""


def counted(n: int | str, noun: str) -> str:
    """``1 seed``, ``5 seeds``, ``4–5 seeds``."""
    return f"{n} {noun}" if str(n) == "1" else f"{n} {noun}s"
