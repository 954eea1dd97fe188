"""Configuration: the defaults are the recipe, and every mistake is one clear message."""

import re
from pathlib import Path

import pytest

from common.errors import UserError
from recipe.ablation import parse_axis, plan
from utils.config import RunConfig, as_python, build_dataclass, load_config
from utils.session import argument_parser, pick_device


def write(tmp_path, text):
    path = tmp_path / "config.py"
    path.write_text(text)
    return path


CONFIGS = sorted(Path(__file__).resolve().parent.parent.glob("configs/**/*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_ready_made_config_and_all_its_trials_are_valid(path):
    config = load_config(path)
    for trial in plan([parse_axis(axis) for axis in config.study.axes], [config.seed]):
        assert load_config(path, trial.options).name == config.name  # a UserError otherwise


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
    config = load_config(path, ["student.lr=0.25"])
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
    arguments = "c.py --cfg-options student.mixing.gridmask=1 student.mixing.cutmix=0.5"
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
        ({"seed": "one"}, "'seed' takes a whole number from 0 to 4_294_967_295, not 'one'"),
        ({"student": {"lr": "fast"}}, "'student.lr' takes a number above 0, not 'fast'"),
        ({"student": {"precision": "fp8"}}, "'student.precision' takes one of auto, bf16"),
        ({"student": {"train_sizes": [96, "big"]}}, "'student.train_sizes' takes a whole number from 8 to 4_096, not 'big'"),
        ({"student": {"mixing": {"cutmix": "often"}}}, "'student.mixing.cutmix' takes a number from 0, not 'often'"),
        ({"student": {"mixing": ["cutmix"]}}, "'student.mixing' takes a text or a dict, each a number from 0, not"),
        ({"student": 3}, "'student' is a section"),
        ({"seed": True}, "'seed' takes a whole number .*, not True"),
    ],
)
def test_wrong_type_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        build_dataclass(RunConfig, values)


@pytest.mark.parametrize(
    "option",
    [
        "student.fold=10", "student.label_smoothing=2", "student.batch_size=0", "student.batch_size=1", "student.batch_size=-4",
        "student.temperature=0", "teacher.epochs=0",
        "teacher.epochs=-1", "student.std=0", "student.std=nan", "student.dropout=1.5", "student.lr=-1",
        "student.lr=inf", "num_threads=-1", "seed=-1", f"seed={2**32}", "student.image_size=0", "student.image_size=100000",
        "student.fold=-1", "student.final_epochs=-1", "student.online_weight=2", "student.teacher_weight=-0.1",
        "teacher.num_folds=1", "student.resize=100", "student.mixing_prob=1.1", "student.mixing_alpha=0", "student.ema_decay=1",
        "student.ohem_share=0", "student.mixing.cutmix=-1", "student.train_sizes=[64,4]", "data.max_pixels=0", "study.seeds=0",
        "student.bn_momentum=0", "student.clip_grad_norm=-1", "student.weight_decay=-1", "student.frozen_stages=-1",
        "num_threads=5000", "name=", "name=.", "name=..", "name=../x", "name=/x",
    ],
)  # fmt: skip
def test_value_out_of_range_is_told_before_anything_is_read(tmp_path, option):
    """Whether or not the run would use it; the message names the key and says what is allowed."""
    key = option.partition("=")[0].split(".")[-1].replace("cutmix", "mixing")
    with pytest.raises(UserError, match=rf"{re.escape(key)}.*(must be|takes|folds are|smaller than|nothing would be)"):
        load_config(write(tmp_path, ""), [option])


def test_ranges_hold_in_files_too(tmp_path):
    with pytest.raises(UserError, match=r"config: student\.label_smoothing=5: must be a number from 0 to 1"):
        load_config(write(tmp_path, "student = dict(label_smoothing=5)"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name=2024", "2024"),
        ("name=a, b=[c]", "a, b=[c]"),
        ("data.root=/my pictures, new/[x]", "/my pictures, new/[x]"),
        ("data.val_root=None", None),
        ("data.classes=a, b c", ("a", "b c")),
        ('data.classes=["a, b", "c"]', ("a, b", "c")),
        ("data.classes=[007, 1e3]", ("007", "1e3")),
        ("data.classes=None", None),
        ("student.weights=none", "none"),
        ("student.sampler_mode=7", 7),
        ("student.sampler_mode=sqrt", "sqrt"),
        ("student.train_sizes=64,80", (64, 80)),
        ("student.online_teachers=['x, y/best.pth']", ("x, y/best.pth",)),
        ("student.online_teachers=[]", ()),
        ("student.mixing={'cutmix': 2}", {"cutmix": 2.0}),
        ("student.hard_oof=True", True),
        ("student.lr=1e-4", 1e-4),
    ],
)
def test_texts_on_the_command_line_are_read_as_their_field_wants(tmp_path, option, value):
    config = load_config(write(tmp_path, ""), [option])
    for key in option.partition("=")[0].split("."):
        config = getattr(config, key)
    assert config == value


@pytest.mark.parametrize("option", ["student.lr", "student.lr:0.1", "=3", ""])
def test_an_option_without_a_value_is_told(tmp_path, option):
    with pytest.raises(UserError, match=r"--cfg-options .*takes KEY=VALUE, such as student\.lr=0\.002"):
        load_config(write(tmp_path, ""), [option])


def test_runs_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    """The shell expands no ~ behind a '='."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(write(tmp_path, ""), ["work_dir=~/runs", "name=a"]).folder == tmp_path / "runs" / "a"
    assert load_config(write(tmp_path, ""), ["work_dir=~nobody-here"]).folder == Path("~nobody-here/jishi")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("teacher.resize=8", r"config: teacher\.resize=8 is smaller than image_size=192"),
        ("student.fold=10", r"config: student\.fold=10: the folds are 0 to 9"),
        ("name=..", r"config: name='\.\.': must be"),
    ],
)
def test_values_that_do_not_go_together_are_told_with_their_section(tmp_path, option, message):
    with pytest.raises(UserError, match=message):
        load_config(write(tmp_path, ""), [option])


def test_options_may_be_given_in_several_parts():
    arguments = ["c.py", "--cfg-options", "seed=1", "--cfg-options", "name=a", "data.root=b"]
    assert argument_parser("").parse_args(arguments).cfg_options == ["seed=1", "name=a", "data.root=b"]


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        load_config(tmp_path / "none.py")
    with pytest.raises(UserError, match="cannot be read as a config"):
        load_config(write(tmp_path, "student = dict(\n"))


@pytest.mark.parametrize("name", ["config.yaml", "config.yml", "config.json", "config"])
def test_only_python_files_are_configs(tmp_path, name):
    """A YAML reader that runs what the file says has been here."""
    trace = tmp_path / "trace"
    (tmp_path / name).write_text(f"name: !!python/object/apply:os.system ['touch {trace}']\n")
    with pytest.raises(UserError, match=r"a config is a Python file \(\.py\)"):
        load_config(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\ufeffname = 'a'\n".encode(), "starts with a byte-order mark. Save it as UTF-8"),
        ("name = 'a'\n".encode("utf-16"), "starts with a byte-order mark"),
        ("seed = 1\nname = '衣服'\n".encode("gbk"), "line 2 is not UTF-8 text"),
    ],
)
def test_config_in_another_encoding_is_told_with_its_line(tmp_path, content, message):
    (tmp_path / "config.py").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_config(tmp_path / "config.py")


def test_ready_made_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/jishi.py").name == "jishi"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "jishi.py").write_text("name = 'mine'\n")
    assert load_config("configs/jishi.py").name == "mine"  # the nearer one


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:99", "gpu", "cpu:3"])
def test_device_that_is_not_there_is_told(name):
    with pytest.raises(UserError, match=f"device='{name}'"):
        pick_device(name)


def test_saved_config_gives_the_same_config(tmp_path):
    config = load_config(
        write(tmp_path, "data = dict(classes=['a b', 'c'])\nstudent = dict(sampler_mode=7, train_sizes=[80, 96])\n")
    )
    assert load_config(write(tmp_path, as_python(config))) == config
