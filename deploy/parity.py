"""Do the exported files answer as the model that was trained?"""

import numpy as np
from scipy.special import softmax

from common.errors import UserError


class ParityError(UserError):
    """An exported file answers differently from the model it was made of."""


def logits(run, batches):
    """float32 (N, K): what a runner (deploy/engines.py) answers on `batches` of its input, one at a time in memory."""
    return np.concatenate([run(batch) for batch in batches])


def probabilities(run, batches):
    """The softmax of `logits`."""
    return softmax(logits(run, batches), axis=1)


def check_parity(reference, others, tolerance):
    """{name: largest difference from `reference`} for probabilities (N, K) in the dict `others`.

    Raises ParityError with all differences when one is over `tolerance` or not a number.
    """
    differences = {name: float(np.abs(probs - reference).max()) for name, probs in others.items()}
    if not all(value <= tolerance for value in differences.values()):
        listed = ", ".join(f"{name} {value:.2e}" for name, value in differences.items())
        raise ParityError(
            f"the exported files answer differently from PyTorch: largest difference of probabilities {listed}, "
            f"allowed {tolerance:.0e}. Nothing was written. Report the backbone, or raise --tolerance if you accept it."
        )
    return differences
