"""The names by which settings, theory and objective speak of the same things. What each means stands in `objective`."""

from typing import Literal

Reading = Literal["none", "truncate", "mask", "rollout", "aspo"]
Signal = Literal["listopd", "no_base", "forward_kl"]
Estimator = Literal["sampled", "exact"]
Mean = Literal["token", "sequence"]
