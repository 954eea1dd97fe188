"""The graph of a model's forward pass, as torch.fx traces it: what fusing and exporting work on."""

from timm.layers import get_notrace_functions, get_notrace_modules
from torch import fx, nn

from common.errors import UserError

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def trace(model):
    """The torch.fx graph of `model`, in eval mode; UserError if its forward pass depends on values."""
    try:
        return fx.GraphModule(model, _Tracer().trace(model), type(model).__name__).eval()
    except Exception as error:
        raise UserError(
            f"{type(model).__name__}: cannot be traced by torch.fx ({error}), so its BatchNorms cannot be found. "
            "Its forward pass must not branch on tensor values or shapes."
        ) from error


class _Tracer(fx.Tracer):
    """Keeps layers whole that a library derives from PyTorch's (EfficientNet's padded convolutions), which fx would take apart.

    What timm names as impossible to trace is kept whole too, unless there are BatchNorms in it, which would not be found.
    """

    def __init__(self):
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))

    def is_leaf_module(self, module, name):
        if isinstance(module, LAYERS + BATCHNORMS) or super().is_leaf_module(module, name):
            return True
        return type(module) in get_notrace_modules() and not any(isinstance(part, BATCHNORMS) for part in module.modules())
