"""What a network sees of a picture stands in one object, which comes back from whatever it was written into."""

import json

import numpy as np
import pytest
import torch

from common.errors import UserError
from data.preprocessing import Preprocessing

PER_CHANNEL = Preprocessing(32, 40, "pad", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), shrink_on_load=2)
NOTES = PER_CHANNEL.as_dict()


def test_it_comes_back_from_json_and_from_an_irs_texts():
    assert Preprocessing.from_dict(json.loads(json.dumps(NOTES)), "x.pth") == PER_CHANNEL
    assert Preprocessing.from_dict({key: str(value) for key, value in NOTES.items()}, "x.xml") == PER_CHANNEL


@pytest.mark.parametrize("preprocessing", [PER_CHANNEL, Preprocessing(32, 40, "stretch", (0.5,) * 3, (0.225,) * 3)])
def test_normalising_is_its_formula_and_leaves_the_pixels_alone(preprocessing):
    squares = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    expected = (squares[:, 4:36, 4:36] / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    np.testing.assert_allclose(preprocessing.network_input(squares), expected.transpose(0, 3, 1, 2), atol=1e-5)
    images = torch.rand(2, 3, 8, 8) * 255
    before = images.clone()
    preprocessing.normalise(images)
    assert torch.equal(images, before)


def test_images_are_renormalised_for_another_network():
    ours, pixels = Preprocessing(32, 32, "stretch", (0.1, 0.2, 0.3), (0.5,) * 3), torch.rand(2, 3, 8, 8) * 255
    torch.testing.assert_close(PER_CHANNEL.renormalise(ours.normalise(pixels), ours), PER_CHANNEL.normalise(pixels))
    assert ours.renormalise(pixels, ours) is pixels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_size": 100_000, "resize": 100_000},
            "image_size=100000, resize=100000: must be whole numbers of pixels",
        ),
        ({"image_size": 0}, "must be whole numbers of pixels"),
        ({"image_size": 41}, "resize, the size before the cut, not the smaller one"),
        ({"image_size": "large"}, "cannot be read"),
        ({"image_size": None}, "cannot be read"),
        ({"fit": "crop"}, "fit='crop': must be one of stretch, pad"),
        ({"std": [0.2, 0.2, 0.0]}, "those of std above 0"),
        ({"mean": [float("nan")] * 3}, "must be three finite numbers"),
        ({"mean": [0.5]}, "must be three finite numbers"),
        ({"mean": 0.5}, "cannot be read"),
        ({"shrink_on_load": "perhaps"}, "cannot be read"),
        ({"shrink_on_load": -1}, "shrink_on_load=-1: must be a whole number from 0 to 16"),
    ],
)
def test_notes_that_make_no_sense_are_told_with_their_file(changes, message):
    with pytest.raises(UserError, match=message) as refused:
        Preprocessing.from_dict({**NOTES, **changes}, "some.pth")
    assert str(refused.value).startswith("some.pth: ")


def test_notes_from_before_mean_pictures_in_their_own_size():
    before = {key: value for key, value in NOTES.items() if key != "shrink_on_load"}
    assert Preprocessing.from_dict(before, "some.pth").at_least is None
    assert PER_CHANNEL.at_least == 80


@pytest.mark.parametrize("key", sorted(NOTES.keys() - {"shrink_on_load"}))
def test_notes_that_lack_something_are_told_with_their_file(key):
    with pytest.raises(UserError, match=f"^some.pth: its notes on preprocessing lack '{key}'"):
        Preprocessing.from_dict({name: value for name, value in NOTES.items() if name != key}, "some.pth")
