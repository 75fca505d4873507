"""The verification bundle for "The Extrapolation Cliff" (ListOPD, arXiv 2605.08737)."""

__version__ = "0.1.0"
