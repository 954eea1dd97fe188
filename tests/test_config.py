"""Configuration: the defaults are the recipe, and every mistake is one clear message."""

from pathlib import Path

import pytest

from common.errors import UserError
from recipe.ablation import parse_axis, plan, resolved
from utils.config import RunConfig, as_python, build_dataclass, load_config
from utils.session import argument_parser


def write(tmp_path, text):
    path = tmp_path / "config.py"
    path.write_text(text)
    return path


CONFIGS = sorted(Path(__file__).resolve().parent.parent.glob("configs/**/*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_ready_made_config_and_all_its_trials_are_valid(path):
    config = load_config(path)
    for trial in plan([parse_axis(axis) for axis in config.study.axes], [config.seed]):
        assert resolved(path, trial.options).name == config.name  # a UserError otherwise


def test_defaults_are_the_recipe():
    config = RunConfig()
    teacher, student = config.teacher, config.student
    assert (teacher.backbone, teacher.head, teacher.image_size, teacher.num_folds) == ("efficientnet_b1", "se_linear", 192, 5)
    assert (teacher.batch_size, teacher.epochs, teacher.lr, teacher.mean, teacher.std) == (160, 20, 1e-3, 0.5, 1.0)
    assert (student.backbone, student.head, student.image_size, student.resize) == ("mobilenet_v3_small", "mlp1280", 224, 256)
    assert (student.teacher_weight, student.sampler, student.num_folds, student.std) == (0.2, "balanced", 10, 0.225)
    assert (student.final_epochs, student.final_lr, config.seed) == (4, 1e-6, 42)
    assert {teacher.mixing, student.mixing} == {"cutmix"}
    assert {teacher.mixing_alpha, student.mixing_alpha} == {1.0}
    assert {teacher.mixing_prob, student.mixing_prob} == {0.5}


def test_command_line_overrides_file_overrides_default(tmp_path):
    path = write(tmp_path, "name = 'x'\nstudent = dict(lr=0.5, epochs=3)\n")
    config = load_config(path, {"student.lr": 0.25})
    assert (config.name, config.student.lr, config.student.epochs, config.student.batch_size) == ("x", 0.25, 3, 256)


def test_base_file_is_inherited(tmp_path):
    (tmp_path / "base.py").write_text("student = dict(lr=0.5, epochs=3)\n")
    config = load_config(write(tmp_path, "_base_ = 'base.py'\nstudent = dict(lr=0.1)\n"))
    assert (config.student.lr, config.student.epochs) == (0.1, 3)


def test_values_on_the_command_line_get_their_types(tmp_path):
    arguments = "c.py --cfg-options student.lr=1e-4 data.classes=[a,b] student.hard_oof=true student.oof=None name=z"
    options = argument_parser("").parse_args(arguments.split()).cfg_options
    config = load_config(write(tmp_path, ""), options)
    assert (config.student.lr, config.data.classes, config.student.hard_oof) == (1e-4, ("a", "b"), True)
    assert (config.student.oof, config.name) == (None, "z")


def test_several_mixings_are_given_by_weight(tmp_path):
    path = write(
        tmp_path, "teacher = dict(mixing=dict(cutmix=2, mixup=1), mixing_alpha=dict(mixup=0.2))\nstudent = dict(mixing='none')"
    )
    arguments = "c.py --cfg-options student.mixing._delete_=true student.mixing.gridmask=1 student.mixing.cutmix=0.5"
    config = load_config(path, argument_parser("").parse_args(arguments.split()).cfg_options)
    assert config.teacher.mixing == {"cutmix": 2.0, "mixup": 1.0}
    assert config.teacher.mixing_alpha == {"mixup": 0.2}
    assert config.student.mixing == {"gridmask": 1.0, "cutmix": 0.5}
    assert load_config(write(tmp_path, as_python(config))) == config


def test_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown key 'student.teacher_wieght'. Did you mean 'student.teacher_weight'"):
        build_dataclass(RunConfig, {"student": {"teacher_wieght": 1}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "one"}, "'seed' takes a int, not 'one'"),
        ({"student": {"lr": "fast"}}, "'student.lr' takes a float"),
        ({"student": {"precision": "fp8"}}, "'student.precision' takes one of auto, bf16"),
        ({"student": {"train_sizes": [96, "big"]}}, "'student.train_sizes' takes a list of int or None"),
        ({"student": {"mixing": {"cutmix": "often"}}}, "'student.mixing.cutmix' takes a float, not 'often'"),
        ({"student": {"mixing": ["cutmix"]}}, "'student.mixing' takes a str or a dict of float, not"),
        ({"student": 3}, "'student' is a section"),
        ({"seed": True}, "'seed' takes a int, not True"),
    ],
)
def test_wrong_type_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        build_dataclass(RunConfig, values)


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        load_config(tmp_path / "none.py")
    with pytest.raises(UserError, match="cannot be read as a config"):
        load_config(write(tmp_path, "student = dict(\n"))


def test_saved_config_gives_the_same_config(tmp_path):
    config = load_config(
        write(tmp_path, "data = dict(classes=['a b', 'c'])\nstudent = dict(sampler_mode=7, train_sizes=[80, 96])\n")
    )
    assert load_config(write(tmp_path, as_python(config))) == config
