"""Checkpoints and features: what is damaged is noticed, whatever byte it is; what is something else is said."""

import numpy as np
import pytest
import torch

from common.errors import UserError
from data.features import open_features, write_features
from utils.checkpoints import load_checkpoint, save_checkpoint, state_digest


@pytest.fixture
def checkpoint(tmp_path):
    state = {"weight": torch.arange(12.0).reshape(3, 4), "steps": torch.tensor(7), "none": torch.zeros(0)}
    save_checkpoint(tmp_path / "a.pth", state, {"classes": ["a", "b"], "lr": 0.25}, history=[{"epoch": 1}])
    return tmp_path / "a.pth"


def refused(path):
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    return str(caught.value)


def flat(saved):
    return {**saved, "model": {name: value.tolist() for name, value in saved["model"].items()}}


def test_no_flipped_byte_changes_what_is_loaded(checkpoint):
    whole, wanted, noticed = checkpoint.read_bytes(), flat(load_checkpoint(checkpoint)), 0
    for i in range(0, len(whole), 5):
        checkpoint.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        try:
            loaded = flat(load_checkpoint(checkpoint))
        except UserError as error:
            said = str(error)
            noticed += "damaged" in said or "not a checkpoint" in said
        else:
            assert loaded == wanted, f"byte {i}"
    assert noticed > (len(whole) - 100) / 5, "all but those of the digest itself"


def test_truncated_and_foreign_files_are_said(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 64, len(whole) - 1):
        checkpoint.write_bytes(whole[:length])
        assert "damaged" in refused(checkpoint)
    assert "no such checkpoint" in refused(tmp_path / "gone.pth")
    assert "a folder of this name" in refused(tmp_path)
    for number, foreign in enumerate(([1, 2], {"state_dict": {}}, {"model": {}})):
        torch.save(foreign, tmp_path / f"{number}.pth")
        assert "not a checkpoint of this project" in refused(tmp_path / f"{number}.pth")


def test_digest_of_a_state_is_of_names_types_and_values():
    state = {"a": torch.arange(6.0), "flag": torch.tensor(True), "n": torch.tensor(3)}
    assert state_digest(state) == state_digest({name: value.clone() for name, value in reversed(state.items())})
    for other in (
        {**state, "a": torch.arange(6.0).reshape(2, 3)},
        {**state, "a": torch.arange(6)},
        {**state, "n": torch.tensor(4)},
        {**state, "b": torch.zeros(0)},
    ):
        assert state_digest(other) != state_digest(state)


def test_features_are_kept_while_they_are_whole_and_of_the_same_things(tmp_path):
    path, shape = tmp_path / "features.npy", (2, 5, 3)
    assert open_features(path, shape, "pictures and backbone") is None
    write_features(path, lambda view: np.full((5, 3), view, np.float32), shape, "pictures and backbone")
    np.testing.assert_array_equal(open_features(path, shape, "pictures and backbone")[1], 1)
    assert open_features(path, shape, "other pictures") is None
    assert open_features(path, (2, 6, 3), "pictures and backbone") is None
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert open_features(path, shape, "pictures and backbone") is None
