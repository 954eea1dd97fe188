"""Probabilities that are true: a temperature for logits (N, K), fitted on labels (N,) of pictures that nobody was trained on."""

import numpy as np
from scipy.special import log_softmax, softmax

LIMITS = 0.1, 10.0  # of a temperature: a network whose logits are ten times too small or large was not trained, but broken
BINS = 15  # of the calibration error, as in the paper


def fit_temperature(logits, labels):
    """The T within `LIMITS` for which softmax(logits / T) explains the labels best (Guo et al. 2017, arXiv:1706.04599).

    float (N, K), K from 2, and int (N,); 1.0 where N is 0. The targets are Platt's (1999): "the answer is right" is not 1 where it
    was, but (R + 1) / (R + 2) of R right answers, and not 0 where it was wrong, but 1 / (W + 2) of W wrong ones. So pictures that
    are all answered rightly (or wrongly) do not make a network boundlessly sure (unsure), few ones less than many; of many pictures
    with both the minimum is that of the likelihood.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and only an export fits

    logits, targets = np.asarray(logits, np.float64), _smoothed_targets(np.asarray(logits), np.asarray(labels))
    if not len(logits):
        return 1.0

    def nll(log_temperature):
        return -(targets * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(1).mean()

    return float(np.exp(minimize_scalar(nll, bounds=np.log(LIMITS), method="bounded", options={"xatol": 1e-6}).x))


def _smoothed_targets(logits, labels):
    """(N, K): the labels, less what Platt's rule leaves to the wrong answer that was given, or to all others of a right one."""
    num, num_classes = logits.shape
    rows, answers = np.arange(num), logits.argmax(1)
    right = answers == labels
    doubt_right, doubt_wrong = 1 / (right.sum() + 2), 1 / ((~right).sum() + 2)
    targets = np.where(right[:, None], doubt_right / (num_classes - 1), 0.0) * np.ones((1, num_classes))
    targets[rows, answers] = doubt_wrong
    targets[rows, labels] = np.where(right, 1 - doubt_right, 1 - doubt_wrong)
    return targets


def expected_calibration_error(probs, labels):
    """How far confidence is from accuracy, 0..1: their mean difference over 15 bins of confidence of equal width (Guo et al. 2017).

    float (N, K), N from 1, and int (N,); a bin counts by the number of pictures in it.
    """
    confidence, right = probs.max(1).astype(np.float64), probs.argmax(1) == labels
    bins = np.ceil(confidence * BINS).astype(int).clip(max=BINS)  # each without its lower end; rounding may lead above 1
    excess = np.bincount(bins, weights=confidence - right, minlength=BINS + 1)
    return float(np.abs(excess).sum() / len(probs))


def cross_fitted(logits, labels, seed=0):
    """Probabilities (N, K), each calibrated by the temperature of the half of the pictures that it does not belong to."""
    order = np.random.default_rng(seed).permutation(len(logits))
    probs = np.empty(np.shape(logits))
    halves = order[::2], order[1::2]
    for half, other in (halves, halves[::-1]):
        probs[half] = softmax(np.asarray(logits, np.float64)[half] / fit_temperature(logits[other], labels[other]), axis=1)
    return probs


def calibrate(logits, labels, fitted_on):
    """The temperature for these pictures, `fitted_on` in words, and what it is worth, as JSON types.

    {'temperature', 'fitted_on', 'pictures', 'ece_before': the calibration error as it was, 'ece_after': that of `cross_fitted`}
    """
    return {
        "temperature": fit_temperature(logits, labels),
        "fitted_on": fitted_on,
        "pictures": len(labels),
        "ece_before": expected_calibration_error(softmax(logits, axis=1), labels),
        "ece_after": expected_calibration_error(cross_fitted(logits, labels), labels),
    }
