"""Temperature scaling finds the temperature that is known, learns little from little, and is judged honestly."""

import numpy as np
import pytest
import torch
from helpers import with_random_statistics
from scipy.special import softmax

from deploy.fuse import fuse
from models import build_model
from models.classifier import calibrated
from models.heads import HEADS
from utils.calibration import LIMITS, calibrate, cross_fitted, expected_calibration_error, fit_temperature


def pictures(num, temperature, num_classes=5, seed=0):
    """Logits (N, K) and labels (N,) drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (num, num_classes))
    cumulated = softmax(logits / temperature, axis=1).cumsum(1)
    return logits.astype(np.float32), (rng.random((num, 1)) > cumulated).sum(1).clip(max=num_classes - 1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    assert fit_temperature(*pictures(20_000, temperature)) == pytest.approx(temperature, rel=0.03)


def test_dividing_by_it_makes_probabilities_true():
    logits, labels = pictures(20_000, 2.5)
    assert expected_calibration_error(softmax(logits, axis=1), labels) > 0.15
    assert expected_calibration_error(softmax(logits / fit_temperature(logits, labels), axis=1), labels) < 0.02


def confident(num, margin=8.0, num_classes=7):
    """Logits (N, K) that are `margin` above the others for the class that is answered, int (N,)."""
    answers = np.arange(num) % num_classes
    return margin * np.eye(num_classes)[answers], answers


@pytest.mark.parametrize("num", [1, 5, 28, 1000])
def test_as_sure_as_the_number_of_right_answers_allows_and_no_surer(num):
    """Laplace's rule of succession; without it the temperature would be 0."""
    logits, labels = confident(num)
    probs = softmax(logits / fit_temperature(logits, labels), axis=1)
    assert probs.max(1) == pytest.approx((num + 1) / (num + 2), abs=1e-4)


def test_one_wrong_answer_does_not_take_all_confidence():
    logits, labels = confident(1)
    probs = softmax(logits / fit_temperature(logits, labels + 1), axis=1)
    assert probs.max() == pytest.approx(1 / 3, abs=1e-4)


def test_a_network_that_is_always_wrong_gets_the_limit_and_one_that_says_nothing_a_number():
    logits, labels = confident(1000)
    assert fit_temperature(logits, (labels + 1) % 7) == pytest.approx(LIMITS[1], rel=1e-3)
    assert LIMITS[0] <= fit_temperature(np.zeros((20, 7)), labels[:20]) <= LIMITS[1]
    assert fit_temperature(logits[:0], labels[:0]) == 1.0


def test_huge_logits_overflow_nowhere():
    logits, labels = confident(50, margin=1e4)
    assert fit_temperature(logits, labels) == pytest.approx(LIMITS[1], rel=1e-3)  # the largest comes nearest to 51 of 52


def test_calibration_error_is_the_difference_of_confidence_and_accuracy_in_each_bin():
    probs = np.float32([[0.9, 0.1], [0.9, 0.1], [0.38, 0.62], [0.62, 0.38]])
    labels = np.array([0, 1, 1, 0])  # of those at 0.9 half are right, of those at 0.62 all
    assert expected_calibration_error(probs, labels) == pytest.approx((2 * abs(0.9 - 0.5) + 2 * abs(0.62 - 1)) / 4)
    assert expected_calibration_error(np.eye(3)[[0, 1, 2]], np.array([0, 1, 2])) == 0
    assert expected_calibration_error(np.eye(3)[[0, 1, 2]], np.array([1, 2, 0])) == 1
    assert expected_calibration_error(np.full((4, 4), 0.25), np.arange(4)) == pytest.approx(0)


def test_no_picture_is_judged_by_a_temperature_that_it_helped_to_fit():
    logits, labels = pictures(40, 2.0)
    before = cross_fitted(logits, labels)
    changed = labels.copy()
    changed[7] = logits[7].argmin()
    moved = (cross_fitted(logits, changed) != before).any(1)
    assert not moved[7]
    assert moved.sum() == 20  # all of the other half


def test_what_is_noted_is_the_same_each_time_and_honest_about_little_data():
    logits, labels = pictures(400, 2.5)
    noted = calibrate(logits, labels, "validation pictures")
    assert noted == calibrate(logits, labels, "validation pictures")
    assert (noted["fitted_on"], noted["pictures"]) == ("validation pictures", 400)
    assert noted["temperature"] == fit_temperature(logits, labels)
    assert noted["ece_before"] == expected_calibration_error(softmax(logits, axis=1), labels)
    assert noted["ece_after"] == expected_calibration_error(cross_fitted(logits, labels), labels) < noted["ece_before"]
    assert {type(value) for value in noted.values()} == {float, int, str}
    assert 0 <= calibrate(logits[:1], labels[:1], "one")["ece_after"] <= 1


@pytest.mark.parametrize("head", HEADS)
def test_every_head_takes_the_temperature_into_its_last_layer(head):
    model = with_random_statistics(build_model("test_resnet", 5, head=head, image_size=32))
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    softer = calibrated(model, 2.5)
    with torch.no_grad():
        logits = model(x)
        assert logits.abs().max() > 0.01  # otherwise nothing below could fail
        torch.testing.assert_close(softer(x), logits / 2.5)
        torch.testing.assert_close(fuse(softer)(x), logits / 2.5, rtol=1e-4, atol=1e-5)
        assert torch.equal(model(x), logits)  # it is a copy that was divided
    assert [name for name, _ in softer.named_modules()] == [name for name, _ in model.named_modules()]
