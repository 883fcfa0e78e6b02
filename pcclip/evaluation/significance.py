"""Whether a change is more than chance: over pictures, over seeds, and over many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

_ROUNDING = 1e-9


def mcnemar(changes: npt.NDArray[np.floating]) -> float:
    """McNemar's exact test of two models on the same pictures, two-sided.

    Args:
        changes: (n,) right (1) or wrong (0) after, minus the same before.

    Returns:
        The p-value: of the pictures whose answer changed, as many improve as worsen. 1 where none changed.

    Raises:
        ValueError: A change is none of -1, 0 and 1.
    """
    if not np.isin(changes, (-1, 0, 1)).all():
        raise ValueError("McNemar's test is for answers that are right or wrong: changes of -1, 0 and 1")
    better, worse = int((changes > 0).sum()), int((changes < 0).sum())
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), in the given order.

    Rejecting those below a level rejects any true null hypothesis with no more than that probability,
    however the tests depend on each other.

    Args:
        p_values: Of one family of tests; NaN for no test, which counts for nothing and stays NaN.
    """
    given = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    corrected = np.full(len(given), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return [float(p) for p in corrected]


def seeds_p_value(values: Sequence[float]) -> float:
    """Student's t test that the mean over seeds is 0, two-sided.

    Args:
        values: One change per seed.

    Returns:
        NaN for fewer than two seeds; 1 where no seed has changed anything.
    """
    if len(values) < 2:
        return float("nan")
    array = np.asarray(values, np.float64)
    if not array.any():
        return 1.0
    if np.ptp(array) < _ROUNDING:
        return 0.0
    return float(stats.ttest_1samp(array, 0).pvalue)
