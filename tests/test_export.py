"""Exported files answer as the trained model does, say what they are, and appear whole or not at all."""

import json
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
import torch
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import ClassificationModel
from scipy.special import softmax

from common.errors import UserError
from common.files import sha256, staged_folder
from data.preprocessing import Preprocessing
from deploy.engines import onnx_runner, openvino_runner
from deploy.fuse import PixelInput, fuse
from deploy.inputs import NetworkInput
from deploy.int8 import quantize
from deploy.manifest import read_answering, write_manifest
from deploy.notes import label_words, model_info
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import save_ir, write_ir
from deploy.parity import ParityError, check_parity, probabilities
from models import build_model
from recipe.predictor import IrPredictor
from utils.run_folder import DeployFolder

SIZE = 64
CLASSES = ["a b", "punk", "日本"]
# One value a channel, so that swapped channels are seen.
PREPROCESSING = Preprocessing(SIZE, 72, "stretch", mean=(0.5, 0.45, 0.4), std=(0.225, 0.25, 0.2))
MEAN, STD = PREPROCESSING.mean, PREPROCESSING.std


def normalised(pixels):
    return np.ascontiguousarray(((pixels / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2))


def answers_of(model, batch):
    with torch.inference_mode():
        return softmax(model(torch.from_numpy(batch)).numpy(), axis=1)


def with_statistics_of(model, batch):
    """The model in eval mode with the BatchNorm statistics of exactly this batch."""
    for norm in model.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.momentum = None
    with torch.no_grad():
        model.train()(torch.from_numpy(batch))
    return model.eval()


@pytest.fixture(scope="module")
def pixels():
    """Blotches of colour, uint8 (6, S, S, 3) RGB."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    return coarse.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)


@pytest.fixture(scope="module")
def model(pixels):
    """A small student whose answers differ from picture to picture; a fresh one answers nearly the same to all."""
    torch.manual_seed(0)
    model = with_statistics_of(build_model("mobilenet_v3_small", 3, head="mlp1280", image_size=SIZE), normalised(pixels))
    with torch.no_grad():
        model.head[-1].weight.mul_(10)
    return model


@pytest.fixture(scope="module")
def reference(model, pixels):
    probs = answers_of(model, normalised(pixels))
    assert np.ptp(probs, axis=0).max() > 0.1  # otherwise no comparison below could fail
    swapped = answers_of(model, normalised(pixels[..., ::-1]))
    assert np.abs(swapped - probs).max() > 0.1
    return probs


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """{dynamic_batch: folder} with the float network as model.onnx and model.xml."""
    folders = {}
    for dynamic_batch in (True, False):
        folders[dynamic_batch] = folder = tmp_path_factory.mktemp("files")
        export_onnx(fuse(model), torch.zeros(2, 3, SIZE, SIZE), folder / "model.onnx", dynamic_batch=dynamic_batch)
        info = model_info(CLASSES, NetworkInput(PREPROCESSING), fingerprint="f00d", accuracy="0.5")
        write_ir(folder / "model.onnx", folder / "model.xml", info)
    return folders


@pytest.mark.parametrize("dynamic_batch", [True, False])
def test_files_answer_as_pytorch_does(files, dynamic_batch, pixels, reference):
    batch = normalised(pixels)
    batches = [batch[:4], batch[4:]] if dynamic_batch else np.split(batch, len(batch))
    answers = {
        "onnx": probabilities(onnx_runner(files[dynamic_batch] / "model.onnx"), batches),
        "ir": probabilities(openvino_runner(files[dynamic_batch] / "model.xml"), batches),
    }
    assert set(check_parity(reference, answers, 1e-4)) == {"onnx", "ir"}


@pytest.mark.parametrize(
    ("name", "pooling", "head"),
    [
        ("efficientnet_b0", "avg", "se_linear"),
        ("shufflenet_v2_x1_0", "avg", "linear"),
        ("lcnet_100", "gem", "arcface"),
        ("mobilenetv4_conv_small", "concat", "mlp1280"),
    ],
)
def test_other_networks_export(name, pooling, head, tmp_path):
    torch.manual_seed(0)
    batch = np.random.default_rng(0).standard_normal((6, 3, 32, 32), np.float32)
    network = with_statistics_of(build_model(name, 5, pooling=pooling, head=head, image_size=32), batch)
    expected = answers_of(network, batch)
    assert np.ptp(expected, axis=0).max() > 0.05  # otherwise the comparison could not fail
    export_onnx(fuse(network), torch.zeros(2, 3, 32, 32), tmp_path / "model.onnx")
    write_ir(tmp_path / "model.onnx", tmp_path / "model.xml", {})
    answers = [
        probabilities(onnx_runner(tmp_path / "model.onnx"), [batch]),
        probabilities(openvino_runner(tmp_path / "model.xml"), [batch]),
    ]
    check_parity(expected, dict(zip(("onnx", "ir"), answers, strict=True)), 1e-4)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_ir_on_raw_pixels_answers_as_on_normalised_floats(model, files, pixels, reference, color, tmp_path):
    inputs = np.ascontiguousarray(pixels if color == "rgb" else pixels[..., ::-1])
    info = model_info(CLASSES, NetworkInput(PREPROCESSING, True, color))
    write_ir(files[True] / "model.onnx", tmp_path / "model.xml", info, pixels=(MEAN, STD, color))
    answers = {
        "PyTorch": answers_of(PixelInput(model, MEAN, STD, color), inputs),
        "ir": probabilities(openvino_runner(tmp_path / "model.xml"), [inputs]),
    }
    check_parity(reference, answers, 1e-4)
    assert ov.Core().read_model(tmp_path / "model.xml").inputs[0].element_type == ov.Type.u8


def test_onnx_on_raw_pixels_answers_as_on_normalised_floats(model, pixels, reference, tmp_path):
    example = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    export_onnx(PixelInput(fuse(model), MEAN, STD, "bgr"), example, tmp_path / "model.onnx")
    inputs = np.ascontiguousarray(pixels[..., ::-1])
    check_parity(reference, {"onnx": probabilities(onnx_runner(tmp_path / "model.onnx"), [inputs])}, 1e-4)


@pytest.fixture(scope="module")
def squares(pixels):
    """uint8 (6, R, R, 3): the pictures with a border that the cut removes."""
    border = (PREPROCESSING.resize - SIZE) // 2
    return np.pad(pixels, ((0, 0), (border, border), (border, border), (0, 0)), constant_values=255)


@pytest.fixture(scope="module")
def whole_picture_ir(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model.xml"
    taken = NetworkInput(PREPROCESSING, pixels=True, color="bgr", whole_pictures=True)
    info = model_info(CLASSES, taken)
    write_ir(files[True] / "model.onnx", path, info, pixels=taken.ir_pixels)
    return path, taken


def test_every_form_of_input_shows_the_network_the_same(files, whole_picture_ir, squares, pixels, reference):
    path, taken = whole_picture_ir
    floats = NetworkInput(PREPROCESSING)
    assert np.array_equal(PREPROCESSING.cut(squares), pixels)
    np.testing.assert_allclose(floats.ir_input(squares), normalised(pixels), atol=1e-6)
    answers = {
        "floats": probabilities(openvino_runner(files[True] / "model.xml"), [floats.ir_input(squares)]),
        "whole pictures": probabilities(openvino_runner(path), [taken.ir_input(square[None]) for square in squares]),
    }
    check_parity(reference, answers, 1e-4)


def test_ir_takes_pictures_of_any_size_and_averages_what_it_shrinks(whole_picture_ir, squares, reference):
    """Rows that alternate around the picture's values: only a mean over them gives the picture again."""
    path, taken = whole_picture_ir
    tall = squares.clip(40, 215).repeat(4, axis=1).repeat(2, axis=2)
    tall[:, ::2] += 40
    tall[:, 1::2] -= 40
    probs = probabilities(openvino_runner(path), [taken.ordered(picture[None]) for picture in tall])
    expected = probabilities(openvino_runner(path), [taken.ir_input(square[None]) for square in squares.clip(40, 215)])
    check_parity(expected, {"tall": probs}, 1e-4)


def test_model_api_reads_the_ir_without_further_arguments(whole_picture_ir, squares):
    """Compared in OpenVINO's own choice of precision, which Model API takes and which is bf16 on some CPUs."""
    path, _ = whole_picture_ir
    model, ours = ClassificationModel.create_model(str(path)), IrPredictor(path)
    compiled = ov.Core().compile_model(str(path), "CPU")
    for square in squares:
        result, probs = model(np.ascontiguousarray(square[..., ::-1])), softmax(compiled(ours.input.picture_input(square))[0][0])
        assert result.raw_scores == pytest.approx(probs, abs=1e-4)
        assert result.top_labels[0].id == probs.argmax()
        assert result.top_labels[0].name == "_".join(CLASSES[probs.argmax()].split())


def test_model_api_answers_in_f32_as_predict_py_does_where_it_is_told(whole_picture_ir, squares):
    """The two lines of docs/deployment.md; on CPUs with bf16 instructions it computes in bf16 otherwise."""
    path, _ = whole_picture_ir
    adapter = OpenvinoAdapter(create_core(), str(path), device="CPU", plugin_config={"INFERENCE_PRECISION_HINT": "f32"})
    model, ours = ClassificationModel.create_model(adapter), IrPredictor(path)
    for square in squares:
        assert model(np.ascontiguousarray(square[..., ::-1])).raw_scores == pytest.approx(ours(square), abs=1e-5)


def test_model_api_refuses_networks_that_it_would_show_something_else(files):
    """The whole picture without the cut, in an order of channels that may be the wrong one (below)."""
    with pytest.raises(Exception, match="There is no model with name"):
        ClassificationModel.create_model(str(files[True] / "model.xml"))


def test_model_api_swaps_channels_of_networks_on_raw_pixels(model, pixels, reference, tmp_path):
    """A fault of OpenVINO's (2026.4.1 has it): where this fails, it was mended, and all networks may carry `model_type`."""
    taken = NetworkInput(replace(PREPROCESSING, resize=SIZE), pixels=True)
    example = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    export_onnx(PixelInput(fuse(model), MEAN, STD, "rgb"), example, tmp_path / "model.onnx")
    write_ir(tmp_path / "model.onnx", tmp_path / "model.xml", model_info(CLASSES, taken, model_type="Classification"))
    network = ov.Core().read_model(tmp_path / "model.xml")
    network.inputs[0].node.layout = ov.Layout("NHWC")
    ov.save_model(network, tmp_path / "behind.xml", compress_to_fp16=False)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}  # bf16 answers up to 0.14 beside them
    adapter = OpenvinoAdapter(create_core(), str(tmp_path / "behind.xml"), device="CPU", plugin_config=hint)
    theirs = ClassificationModel.create_model(adapter)
    twice = pixels.repeat(2, axis=1).repeat(2, axis=2)  # so that it has to be resized
    swapped = np.stack([theirs(np.ascontiguousarray(picture)).raw_scores for picture in twice])  # RGB in place of BGR
    assert np.abs(swapped - reference).max() < 0.05


def test_model_api_names_the_class_whatever_is_rejected(files, squares, tmp_path):
    """Its own threshold is for pictures of several classes at a time."""
    taken = NetworkInput(PREPROCESSING, pixels=True, color="bgr", whole_pictures=True)
    path = tmp_path / "model.xml"
    write_ir(files[True] / "model.onnx", path, model_info(CLASSES, taken, reject_below=1.0), pixels=taken.ir_pixels)
    model, ours = ClassificationModel.create_model(str(path)), IrPredictor(path)
    assert model.params.confidence_threshold == ours.reject_below == 1.0
    result = model(np.ascontiguousarray(squares[0][..., ::-1]))
    assert result.top_labels[0].name in ("a_b", "punk", "日本")
    assert ours.class_of(ours(squares[0])) == "unknown"


@pytest.mark.parametrize(("pixel_input", "color"), [(False, "rgb"), (True, "rgb"), (True, "bgr")])
def test_predictor_reads_from_the_ir_what_it_takes(files, squares, reference, pixel_input, color, tmp_path):
    taken = NetworkInput(PREPROCESSING, pixel_input, color)
    info = model_info(CLASSES, taken)
    write_ir(files[True] / "model.onnx", tmp_path / "model.xml", info, pixels=taken.ir_pixels)
    predictor = IrPredictor(tmp_path / "model.xml")
    assert predictor.classes == ["a_b", "punk", "日本"]
    assert np.stack([predictor(square) for square in squares]) == pytest.approx(reference, abs=1e-4)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_predictor_fits_a_wide_picture_as_in_training(files, model, fit, tmp_path):
    preprocessing, wide = replace(PREPROCESSING, fit=fit), np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    write_ir(files[True] / "model.onnx", tmp_path / "model.xml", model_info(CLASSES, NetworkInput(preprocessing)))
    square = preprocessing.square(wide)
    expected = answers_of(model, normalised(square[None, 4:68, 4:68]))
    assert IrPredictor(tmp_path / "model.xml")(wide) == pytest.approx(expected[0], abs=1e-4)


def test_an_ir_for_whole_pictures_is_refused_where_they_were_padded():
    with pytest.raises(UserError, match=r"trained with fit='pad'.*Export without --resize"):
        NetworkInput(replace(PREPROCESSING, fit="pad"), pixels=True, color="bgr", whole_pictures=True)


def test_predictor_refuses_an_ir_of_unknown_origin(files, tmp_path):
    write_ir(files[True] / "model.onnx", tmp_path / "model.xml", {})
    with pytest.raises(UserError, match=r"model\.xml: does not say what pictures it takes"):
        IrPredictor(tmp_path / "model.xml")


def test_int8_is_smaller_and_answers_about_the_same(files, pixels, reference, tmp_path):
    images, labels = normalised(pixels), reference.argmax(1)
    singly = [image[None] for image in images]
    quantized = quantize(ov.convert_model(str(files[True] / "model.onnx")), singly, singly, labels, max_drop=0.0)
    save_ir(quantized, tmp_path / "model.xml", {})
    operations = {node.get_type_name() for node in ov.Core().read_model(tmp_path / "model.xml").get_ops()}
    assert "FakeQuantize" in operations
    assert (tmp_path / "model.bin").stat().st_size < 0.5 * (files[True] / "model.bin").stat().st_size
    assert np.array_equal(probabilities(openvino_runner(tmp_path / "model.xml"), [images]).argmax(1), labels)


def test_ir_carries_what_model_api_reads(files):
    network = ov.Core().read_model(files[True] / "model.xml")
    info = {key: value.astype(str) for key, value in network.get_rt_info(["model_info"]).astype(dict).items()}
    assert info["labels"] == "a_b punk 日本"
    assert [float(value) for value in info["mean_values"].split()] == pytest.approx([127.5, 114.75, 102])
    assert [float(value) for value in info["scale_values"].split()] == pytest.approx([57.375, 63.75, 51])
    assert (info["reverse_input_channels"], info["resize_type"], info["fingerprint"]) == ("True", "standard", "f00d")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["a b", "a_b", "a\tb"], ["a_b_2", "a_b", "a_b_3"]),
        (["a b", "a_b_2", "a_b"], ["a_b_3", "a_b_2", "a_b"]),
        (["plain", "日本"], ["plain", "日本"]),
    ],
)
def test_labels_in_the_ir_are_single_words_and_all_different(classes, words):
    assert label_words(classes) == words


def test_onnx_is_one_file_without_paths_of_this_machine(files):
    content = (files[True] / "model.onnx").read_bytes()
    assert b".py" not in content
    assert sorted(path.name for path in files[True].iterdir()) == ["model.bin", "model.onnx", "model.xml"]


def test_exporting_prints_nothing(tmp_path, capfd):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    export_onnx(network, torch.zeros(2, 3, 2, 2), tmp_path / "model.onnx")
    assert capfd.readouterr().out == ""


def test_parity_gate_names_every_difference():
    reference = np.full((2, 2), 0.5)
    with pytest.raises(ParityError, match=r"onnx 0\.00e\+00.*ir 2\.50e-01"):
        check_parity(reference, {"onnx": reference, "ir": reference + np.float64([[0.25, -0.25], [0, 0]])}, 1e-4)


def test_parity_gate_stops_at_not_a_number():
    with pytest.raises(ParityError, match="nan"):
        check_parity(np.full((1, 2), 0.5), {"ir": np.full((1, 2), np.nan)}, 1e-4)


def content(folder):
    """{path: text} of the files in it, but for the locks, which stay."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def fail_halfway(final, error):
    with staged_folder(final) as folder:
        (folder / "model.xml").write_text("newer")
        raise error


@pytest.mark.parametrize("error", [ParityError("over"), KeyboardInterrupt()])
def test_failing_export_leaves_no_files_and_the_older_folder(tmp_path, error):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "model.xml").write_text("older")
    with pytest.raises(type(error)):
        fail_halfway(tmp_path / "deploy", error)
    assert content(tmp_path) == {"deploy/model.xml": "older"}


def test_export_replaces_the_older_folder_as_a_whole(tmp_path):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "stale.xml").write_text("older")
    with staged_folder(tmp_path / "deploy") as folder:
        (folder / "model.xml").write_text("newer")
    assert content(tmp_path) == {"deploy/model.xml": "newer"}


def test_older_folder_comes_back_after_a_kill_between_the_two_renames(tmp_path):
    (tmp_path / ".deploy.old").mkdir()
    (tmp_path / ".deploy.old" / "model.xml").write_text("older")
    with pytest.raises(ParityError), staged_folder(tmp_path / "deploy"):
        raise ParityError("over")
    assert content(tmp_path) == {"deploy/model.xml": "older"}


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "deploy").write_text("mine")
    with pytest.raises(UserError, match="is a file"), staged_folder(tmp_path / "deploy"):
        pass
    assert (tmp_path / "deploy").read_text() == "mine"


def test_manifest_describes_every_file(tmp_path):
    checkpoint = tmp_path / "student" / "averaged.pth"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    (tmp_path / "deploy").mkdir()
    tmp_path = tmp_path / "deploy"
    (tmp_path / "model.onnx").write_bytes(b"abc")
    meta = {"classes": CLASSES, "model": {}, "fingerprint": "f00d", "code_version": "v0"}
    taken = NetworkInput(PREPROCESSING, pixels=True, color="bgr", fixed_batch=True)
    measured = {
        "accuracy": {"ir": 0.5},
        "measured_on": "fold 0 of 10",
        "parity": {"ir": 1e-6},
        "speed": [("ir", 1.0, 2.0, 1000.0, 2000.0)],
        "calibration": {"temperature": 1.5, "fitted_on": "fold 0 of 10"},
        "reject_below": 0.6,
    }
    write_manifest(DeployFolder(tmp_path), checkpoint, meta, taken, measured, "v1")
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {"model.onnx", "labels.txt"}
    assert manifest["files"]["model.onnx"] == {"bytes": 3, "sha256": sha256(tmp_path / "model.onnx")}
    assert manifest["checkpoint"] == {"file": "averaged.pth", "sha256": sha256(checkpoint)}
    assert manifest["accuracy_measured_on"] == "fold 0 of 10"
    assert manifest["calibration"] == measured["calibration"]
    assert read_answering(tmp_path / "manifest.json") == (1.5, 0.6)
    assert Preprocessing.from_dict(manifest["preprocessing"], "manifest.json") == PREPROCESSING
    assert (manifest["input"]["shape"], manifest["input"]["color"]) == ([1, SIZE, SIZE, 3], "bgr")
    assert manifest["speed"]["ir"] == {"ms": 1.0, "p99_ms": 2.0, "fps": 1000.0, "fps_throughput": 2000.0}
    assert manifest["openvino_inference_precision"] == "f32"
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines() == CLASSES
