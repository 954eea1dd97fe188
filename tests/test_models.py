"""Models and their weights: shapes, sizes, freezing, local files, and messages for what is missing."""

import sys

import pytest
import torch
import torchvision

from common.errors import UserError
from models import __main__ as table
from models import build_model
from models.backbones import BACKBONES
from models.classifier import batchnorms

SMALL = ["efficientnet_b0", "efficientnet_b1", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x1_0"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("head", ["linear", "se_linear", "mlp1280"])
def test_every_parameter_gets_a_finite_gradient(name, head):
    model = build_model(name, 5, head=head, image_size=32, dropout=0.0)
    for block in model.modules():
        block.drop_connect_rate = 0.0  # a dropped block has no gradient in that step
    logits = model(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 5)
    logits.logsumexp(1).sum().backward()
    missing = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


def test_the_recipes_models_have_the_recipes_sizes():
    student = build_model("mobilenet_v3_small", 7, head="mlp1280")
    assert sum(p.numel() for p in student.backbone.parameters()) == 927_008
    assert [tuple(p.shape) for p in student.head.parameters()] == [(1280, 576), (1280,), (1280,), (7, 1280), (7,)]
    teacher = build_model("efficientnet_b1", 7, head="se_linear", image_size=64)
    assert sum(p.numel() for p in teacher.backbone.parameters()) == 6_513_184
    assert tuple(next(teacher.head.parameters()).shape) == (160, 1280)


def test_frozen_stages_do_not_change_in_training():
    model = build_model("mobilenet_v3_small", 3, image_size=32)
    model.freeze(4, batchnorm=True)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    optimizer.step()
    changed = {key for key, value in model.backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(int(key.split(".")[1]) >= 4 for key in changed)
    assert not any("running" in key for key in changed)


def test_short_runs_get_a_larger_batchnorm_momentum():
    model = build_model("mobilenet_v3_small", 3, image_size=32)
    for num_steps, momentum in ((10_000, 0.01), (200, 0.05), (5, 0.1)):
        model.let_statistics_keep_up(num_steps)
        assert {module.momentum for module in batchnorms(model)} == {momentum}


def test_statistics_of_a_short_run_are_of_the_pictures_it_saw():
    model = build_model("mobilenet_v3_small", 3, image_size=32)
    model.let_statistics_keep_up(100)
    first, x = batchnorms(model)[0], 9 + torch.randn(4, 3, 32, 32)
    model.train()
    with torch.no_grad():
        for _ in range(100):
            model(x)
        inputs = model.backbone.stages[0][0](x)
    torch.testing.assert_close(first.running_mean, inputs.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_local_weights_file_is_loaded(tmp_path):
    network = torchvision.models.mobilenet_v3_small()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = build_model("mobilenet_v3_small", 3, weights=str(tmp_path / "w.pth"))
    for ours, theirs in zip(model.backbone.stages.state_dict().values(), network.features.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_imagenet_weights_are_taken_from_the_librarys_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = torchvision.models.mobilenet_v3_small()
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(network.state_dict(), cache / "mobilenet_v3_small-047dcff4.pth")
    model = build_model("mobilenet_v3_small", 3, weights="imagenet")
    assert torch.equal(model.backbone.stages[0][0].weight, network.features[0][0].weight)


def test_missing_weights_name_the_file_and_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(UserError) as caught:
        build_model("efficientnet_b1", 3, weights="imagenet", image_size=32)
    assert "efficientnet-b1-f1951068.pth" in str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints") in str(caught.value)


@pytest.mark.parametrize("change", ["drop", "add", "reshape"])
def test_weights_of_another_network_are_refused(tmp_path, change):
    state = torchvision.models.mobilenet_v3_small().state_dict()
    if change == "drop":
        del state["features.0.0.weight"]
    elif change == "add":
        state["features.99.weight"] = torch.zeros(1)
    else:
        state["features.0.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match="not the weights of mobilenet_v3_small"):
        build_model("mobilenet_v3_small", 3, weights=str(tmp_path / "w.pth"))


def test_damaged_missing_and_unsafe_weight_files_are_refused(tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    torch.save({"state_dict": sys.exit}, tmp_path / "code.pth")
    for name in ("cut.pth", "code.pth"):
        with pytest.raises(UserError, match="cannot be read as weights"):
            build_model("mobilenet_v3_small", 3, weights=str(tmp_path / name))
    with pytest.raises(UserError, match="no such weights file"):
        build_model("mobilenet_v3_small", 3, weights=str(tmp_path / "none.pth"))


def test_imagenet_weights_from_packages():
    a, b = (build_model("efficientnet_lite1", 3, weights="imagenet", image_size=64) for _ in range(2))
    assert torch.equal(a.backbone.stages[0][0].weight, b.backbone.stages[0][0].weight)


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UserError, match=r"pip install -r requirements.txt"):
        build_model("efficientnet_lite1", 3)


def test_unknown_names_list_the_known():
    with pytest.raises(UserError, match=r"unknown backbone 'resnet'.*mobilenet_v3_small"):
        build_model("resnet", 3)
    assert "mobilenet_v3_small" in BACKBONES


@pytest.mark.parametrize("name", ["efficientnet_b1", "mobilenet_v3_small", "shufflenet_v2_x1_0", "lcnet_100"])
def test_backbones_take_384_pixels_as_well_as_the_32_of_other_tests(name):
    with torch.device("meta"):  # shapes only
        model = build_model(name, 3, image_size=384).eval()
        assert model.backbone(torch.zeros(1, 3, 384, 384)).shape[2:] == (12, 12)
        assert model(torch.zeros(1, 3, 384, 384)).shape == (1, 3)


def test_table_counts_what_is_published():
    # Howard et al. 2019, arXiv:1905.02244, table 4: 56 M for the whole network; Han et al. 2020, arXiv:1911.11907: 141 M.
    for name, parameters, published in [("mobilenet_v3_small", 927_008, 56e6), ("ghostnet_100", 2_671_428, 141e6)]:
        num_parameters, multiply_adds, _ = table.cost(name, 224)
        assert num_parameters == parameters
        assert 0.95 * published < multiply_adds <= published


def test_table_names_the_source_of_the_weights_and_what_is_unknown(capsys):
    table.main(["lcnet_100", "lcnet_035", "mobilenet_v3_large", "mobilenet_v3_smal", "--size", "64"])
    title, *rows = capsys.readouterr().out.splitlines()
    assert "multiply-adds at 64" in title
    assert [row.split()[-1] for row in rows[:2]] == ["huggingface.co/timm/lcnet_100.ra2_in1k", "none"]
    assert rows[2].endswith("/mobilenet_v3_large-5c1a4163.pth")
    assert "Did you mean mobilenet_v3_small" in rows[3]
