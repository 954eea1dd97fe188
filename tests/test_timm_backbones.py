"""Any convolutional timm network is a backbone: it trains, freezes, fuses, and takes its weights from timm's files."""

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from helpers import batchnorms, largest_relative_difference, with_random_statistics
from huggingface_hub.errors import LocalEntryNotFoundError

from common.errors import UserError
from deploy.fuse import fuse, unfused_batchnorms
from models import build_model

# {name: (parameters of timm's network, of the layers after its last feature map)}
SIZES = {
    "ghostnet_100": (5_182_508, 960 * 1280 + 1280 + 1281 * 1000),
    "seresnext50_32x4d": (27_559_896, 2049 * 1000),
    "densenet121": (7_978_856, 1025 * 1000),
    "mobilenetv4_conv_small": (3_774_024, 960 * 1280 + 2 * 1280 + 1281 * 1000),
    "lcnet_100": (2_953_800, 512 * 1280 + 1280 + 1281 * 1000),
}
BATCHNORMS_BEFORE_LAYERS = {"densenet121": 62}


@pytest.mark.parametrize("name", SIZES)
def test_backbone_trains_freezes_and_fuses(name):
    model = build_model(name, 5, image_size=64)
    whole, after_features = SIZES[name]
    assert sum(p.numel() for p in model.backbone.parameters()) == whole - after_features

    model.freeze(2, batchnorm=True)
    frozen = {id(p) for stage in model.backbone.stages[:2] for p in stage.parameters()}
    statistics = {key: value.clone() for key, value in model.named_buffers()}
    model.train()(torch.randn(4, 3, 64, 64)).logsumexp(1).sum().backward()
    assert frozen
    for key, parameter in model.named_parameters():
        assert parameter.grad is None if id(parameter) in frozen else parameter.grad.isfinite().all(), key
    assert all(torch.equal(value, statistics[key]) for key, value in model.named_buffers())

    with_random_statistics(model)
    fused = fuse(model)
    assert unfused_batchnorms(fused) == []
    assert len(batchnorms(fused)) == BATCHNORMS_BEFORE_LAYERS.get(name, 0)
    assert largest_relative_difference(model, fused, (2, 3, 64, 64)) < 1e-5


@pytest.mark.parametrize(("name", "num_stages"), [("rdnet_tiny", 8), ("poolformer_s12", 1), ("lcnet_050", 7)])
def test_stages_are_timms_groups_or_the_whole_network(name, num_stages):
    """RDNet has fine groups only, PoolFormer none."""
    with torch.device("meta"):
        model = build_model(name, 3, image_size=64)
    stages = model.backbone.stages
    assert len(stages) == num_stages
    grouped = [id(p) for stage in stages for p in stage.parameters()]
    assert sorted(grouped) == sorted({id(p) for p in model.backbone.parameters()})  # every parameter, in one of them
    model.freeze(num_stages)
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_synchronised_batchnorm_keeps_activations_and_frozen_stages():
    model = with_random_statistics(build_model("lcnet_100", 3, image_size=32))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        model.freeze(1)
        synchronised = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert torch.equal(synchronised(x), expected)
    kinds = {type(norm).__name__ for norm in batchnorms(synchronised)}
    assert kinds == {"SyncBatchNorm"}
    trained = [norm.training for norm in batchnorms(synchronised.train())]
    assert trained[0] is False
    assert all(trained[1:])


def saved_network(name, path, num_classes=1000):
    """A timm network whose every number matters, saved in `path`."""
    torch.manual_seed(0)
    network = with_random_statistics(timm.create_model(name, num_classes=num_classes))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(network.state_dict(), path)
    else:
        torch.save({"state_dict": network.state_dict()}, path)
    return network


def same_features(model, network):
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        return torch.equal(model.eval().backbone(x), network.forward_features(x))


@pytest.mark.parametrize("num_classes", [1000, 3, 0])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file_is_loaded_whatever_its_classes(tmp_path, suffix, num_classes):
    network = saved_network("mobilenetv4_conv_small", tmp_path / f"w{suffix}", num_classes)
    assert same_features(build_model("mobilenetv4_conv_small", 5, image_size=32, weights=str(tmp_path / f"w{suffix}")), network)


def test_weights_of_another_timm_network_are_refused(tmp_path):
    saved_network("lcnet_050", tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth: not the weights of lcnet_100"):
        build_model("lcnet_100", 5, weights=str(tmp_path / "w.pth"), image_size=32)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the Hugging Face hub, and no network."""

    def no_network(*args, **kwargs):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    return tmp_path


def test_imagenet_weights_are_taken_from_the_hubs_cache(hub_cache):
    repository = hub_cache / "models--timm--lcnet_100.ra2_in1k"
    network = saved_network("lcnet_100", repository / "snapshots" / "c0ffee" / "model.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c0ffee")
    assert same_features(build_model("lcnet_100", 5, weights="imagenet", image_size=32), network)


def test_missing_imagenet_weights_name_the_file_and_a_place_that_works(hub_cache):
    with pytest.raises(UserError, match="no network") as caught:
        build_model("lcnet_100", 5, weights="imagenet", image_size=32)
    place = hub_cache / "models--timm--lcnet_100.ra2_in1k" / "snapshots" / "main" / "model.safetensors"
    assert "https://huggingface.co/timm/lcnet_100.ra2_in1k/resolve/main/model.safetensors" in str(caught.value)
    assert str(place) in str(caught.value)
    network = saved_network("lcnet_100", place)
    assert same_features(build_model("lcnet_100", 5, weights="imagenet", image_size=32), network)


def test_network_without_imagenet_weights_says_so():
    with pytest.raises(UserError, match="There are no ImageNet weights of lcnet_035"):
        build_model("lcnet_035", 5, weights="imagenet", image_size=32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224", r"its features are no map \(B, C, h, w\)"),
        ("mobilenetv4_conv_smal", "Did you mean mobilenetv4_conv_small"),
        ("lcnet_100.no_such_weights", "unknown backbone"),
    ],
)
def test_names_that_cannot_be_backbones_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        build_model(name, 3, image_size=224)


def test_network_whose_answer_no_exporter_can_follow_is_refused_before_the_training(monkeypatch):
    features = timm.models.ResNet.forward_features
    monkeypatch.setattr(timm.models.ResNet, "forward_features", lambda self, x: features(self, x if x.sum() >= 0 else -x))
    with pytest.raises(UserError, match="test_resnet could not be exported after training, choose another backbone"):
        build_model("test_resnet", 3, image_size=32)


@pytest.mark.parametrize(("name", "image_size"), [("inception_v3", 32), ("coatnet_nano_rw_224", 64), ("gemma4_vit_167m_enc", 224)])
def test_image_of_a_size_that_the_network_does_not_take_is_refused(name, image_size):
    with torch.device("meta"), pytest.raises(UserError, match=f"{name} cannot take images of {image_size} pixels"):
        build_model(name, 3, image_size=image_size)
