"""An exponential moving average of a model's weights, kept beside it while it trains."""

import copy

import torch


class MovingAverage:
    """`model` averages the weights and BatchNorm statistics of the model that it was made from; integer buffers are copied.

    average = d * average + (1 - d) * weights after every step, with d = min(decay, (1 + t) / (10 + t)) at update t = 0, 1, ...,
    so that a short run is not an average of its random start. Source: Polyak and Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(self, model, decay):
        self.source, self.decay, self.num_updates = model, decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self):
        """Take in the present weights of the model that trains."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        averages, sources = [], []
        for average, source in zip(self.model.state_dict().values(), self.source.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                sources.append(source)
            else:
                average.copy_(source)
        torch._foreach_lerp_(averages, sources, 1 - decay)

    def state_dict(self):
        return {"model": self.model.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.num_updates = state["num_updates"]
