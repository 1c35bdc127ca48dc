"""Corruption of images, and data sets in several severities of it."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from gatebench import recipe
from gatebench.contract import GatedModel, Output
from gatebench.data import catalogue
from gatebench.data.batches import Batches
from gatebench.data.corruption import corrupt, noise_keys
from gatebench.data.images import Dataset, Images
from gatebench.data.settings import Corruption, Data, Shapes
from gatebench.data.shapes import make_shapes
from gatebench.errors import UsageError
from gatebench.evaluation.breakdown import breakdown, by_severity, per_input
from gatebench.evaluation.outcome import collect

SEVERITIES = {"clean": Corruption(), "mild": Corruption(blur=1, noise=0.05), "severe": Corruption(blur=3, noise=0.25)}
SHAPES = Shapes(classes=4, train=40, test=12, image_size=16)


def shapes(tmp_path, **changes):
    return catalogue.load(Data(**{"name": "shapes", "shapes": SHAPES, "severities": SEVERITIES} | changes), tmp_path)


def some_pixels(count, height=16, width=16, channels=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8))


def noise_of(keys, sigma=0.1, side=64):
    """Noise [N, side * side] that is added to a mid-grey image, in grey levels."""
    grey = torch.full((len(keys), side, side, 1), 128, dtype=torch.uint8)
    return corrupt(grey, Corruption(noise=sigma), keys).flatten(1).double() - 128


@pytest.mark.parametrize("sigma", [0.4, 1, 2, 4, 30])
def test_blur_is_scipy_s(sigma):
    pixels = some_pixels(2, height=20, width=13)
    blurred = corrupt(pixels, Corruption(blur=sigma), torch.arange(2)).numpy()
    for image, expected in zip(blurred, pixels.numpy(), strict=True):
        assert np.abs(image - gaussian_filter(expected.astype(float), (sigma, sigma, 0), mode="mirror")).max() < 0.51  # but for rounding


def test_blur_leaves_an_even_image_alone():
    even = torch.full((1, 9, 9, 3), 201, dtype=torch.uint8)
    assert torch.equal(corrupt(even, Corruption(blur=2.5), torch.arange(1)), even)


def test_noise_is_normal_and_independent_between_images_severities_and_places():
    keys = torch.cat([noise_keys(torch.arange(6), stream) for stream in (0, 1, 2)])
    noise = noise_of(keys)
    assert noise.mean() == pytest.approx(0, abs=0.5) and noise.std() == pytest.approx(25.5, rel=0.02)
    shares = [(noise.abs() < 25.5 * sigmas).double().mean().item() for sigmas in (1, 2, 3)]
    assert shares == pytest.approx([0.683, 0.954, 0.997], abs=0.01)
    rows = np.corrcoef(noise)
    assert np.abs(rows - np.eye(len(keys))).max() < 5 / 64, "five standard errors"
    image = noise.view(-1, 64, 64)
    for shifted, left in ((image[:, :, 1:], image[:, :, :-1]), (image[:, 1:], image[:, :-1])):
        assert abs(np.corrcoef(shifted.flatten(), left.flatten())[0, 1]) < 0.02


@given(count=st.integers(1, 12), split=st.integers(0, 12), seed=st.integers(0, 10_000), blur=st.sampled_from([0, 1.7]))
@settings(max_examples=30, deadline=None)
def test_an_image_comes_out_the_same_in_any_batch(count, split, seed, blur):
    pixels, keys, corruption = some_pixels(count, seed=seed), torch.arange(count) + seed, Corruption(blur=blur, noise=0.2)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    whole = corrupt(pixels, corruption, keys)
    parts = [corrupt(pixels[part], corruption, keys[part]) for part in (order[:split], order[split:]) if len(part)]
    assert torch.equal(torch.cat(parts), whole[order])


def test_corrupted_pixels_are_the_same_on_every_machine():
    """Runs are named by them, and cached outputs are of them."""
    corrupted = corrupt(torch.arange(256, dtype=torch.uint8).view(1, 8, 8, 4), Corruption(blur=1.5, noise=0.1), torch.tensor([5]))
    assert corrupted[0, 3, :, 1].tolist() == [146, 95, 78, 129, 68, 107, 152, 95]


def test_corrupted_parts_are_the_same_on_every_machine(tmp_path):
    """Numbers of images, streams of noise and all: pixels of every part, and what digests are made of."""
    pixels = (np.arange(20 * 64 * 3) ** 2 % 251).astype(np.uint8).reshape(20, 8, 8, 3)
    labels = np.arange(20) % 2
    np.savez(tmp_path / "set.npz", train_images=pixels, train_labels=labels, test_images=pixels[::-1], test_labels=labels)
    dataset = catalogue.load(Data(name=str(tmp_path / "set.npz"), severities=SEVERITIES, validation=3, holdout=5), tmp_path)
    parts = dataset.train, dataset.validation, dataset.test
    assert [zlib.crc32(part.pixels) for part in parts] == [1376248484, 1543020822, 2652963608]
    assert [part.checksum() for part in parts] == [1589417125, 3273391807, 3586479433]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU that torch can use here")
def test_corrupted_pixels_are_the_same_on_a_gpu():
    pixels, keys = some_pixels(9, 33, 20), torch.arange(9) + 2**35
    for corruption in SEVERITIES.values():
        assert torch.equal(corrupt(pixels.cuda(), corruption, keys.cuda()).cpu(), corrupt(pixels, corruption, keys))


def test_every_scored_image_comes_in_every_severity_in_their_order(tmp_path):
    plain, dataset = shapes(tmp_path, severities={}, validation=6), shapes(tmp_path, validation=6)
    assert dataset.severities == ("clean", "mild", "severe") and dataset.describe()["severities"] == dataset.severities
    for name in ("train", "validation", "test"):
        clean, images = getattr(plain, name), getattr(dataset, name)
        count = len(clean)
        assert images.severity.tolist() == [0] * count + [1] * count + [2] * count
        assert images.source.tolist() == list(range(count)) * 3 and np.array_equal(images.labels, np.tile(clean.labels, 3))
        assert np.array_equal(images.difficulty, np.tile(clean.difficulty, 3))
        assert np.array_equal(images.pixels[:count], clean.pixels)
        change = [np.abs(part.astype(int) - clean.pixels).mean() for part in np.split(images.pixels, 3)]
        assert change[0] == 0 and change[1] < change[2] / 2
    assert (dataset.mean, dataset.std) == (plain.mean, plain.std)


def test_the_noise_of_an_image_is_the_same_in_whatever_part_it_is(tmp_path):
    """Another carving, and the validation part in the place of test."""
    one, other = shapes(tmp_path, validation=5, holdout=9), shapes(tmp_path, validation=5, holdout=20, train_on="holdout")
    trained = {image.tobytes() for image in one.train.pixels}
    shared = sum(image.tobytes() in trained for image in other.train.pixels)
    assert shared == 3 * (20 - 9)
    assert np.array_equal(shapes(tmp_path, validation=5, scored="validation").test.pixels, one.validation.pixels)


def test_noise_differs_between_parts(tmp_path):
    """The third training and the third test image have nothing in common."""
    dataset = shapes(tmp_path, severities={"noisy": Corruption(noise=0.05)})
    plain = shapes(tmp_path, severities={})
    noise = [getattr(dataset, part).pixels[:12].astype(float) - getattr(plain, part).pixels[:12] for part in ("train", "test")]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_training_images_in_one_severity(tmp_path):
    everything, severe = shapes(tmp_path), shapes(tmp_path, training_severity="severe")
    assert np.array_equal(severe.train.pixels, everything.train.pixels[80:]) and set(severe.train.severity) == {2}
    assert np.array_equal(severe.test.pixels, everything.test.pixels)


def test_training_images_in_a_random_severity(tmp_path):
    dataset = shapes(tmp_path, training_severity="random")
    assert np.array_equal(dataset.train.pixels, shapes(tmp_path, severities={}).train.pixels)

    def epoch(seed, batch_size=16, corruptions=tuple(SEVERITIES.values())):
        options = {"batch_size": batch_size, "device": torch.device("cpu"), "corruptions": corruptions}
        loader = Batches(Images(dataset.train.pixels, np.arange(40)), (0.0,) * 3, (1 / 255,) * 3, **options)
        done = list(loader.shuffled(seed))
        order = torch.cat([batch.labels for batch in done]).argsort()
        return torch.cat([batch.x for batch in done])[order].round().to(torch.uint8).permute(0, 2, 3, 1)

    first, again, other = epoch(7), epoch(7), epoch(8)
    assert torch.equal(first, again) and not torch.equal(first, other)
    clean = (first == torch.from_numpy(dataset.train.pixels)).flatten(1).all(1)
    assert 4 <= clean.sum() <= 24, "about a third is in the first severity"
    only = {"corruptions": (SEVERITIES["severe"],)}
    assert torch.equal(epoch(7, 16, **only), epoch(7, 40, **only)), "an image's noise does not depend on its batch"
    assert not (epoch(7, **only) == epoch(8, **only)).flatten(1).all(1).any(), "noise is drawn anew"


def test_the_digest_is_of_the_corruptions(tmp_path):
    changed = {**SEVERITIES, "severe": Corruption(blur=3, noise=0.26)}
    for training in ("all", "random", "mild"):
        one, same, other = (
            shapes(tmp_path, severities=each, training_severity=training).describe()["digest"] for each in (SEVERITIES, SEVERITIES, changed)
        )
        assert one == same != other
    drawn = shapes(tmp_path, training_severity="random").describe()
    assert len({shapes(tmp_path, training_severity=each).describe()["digest"] for each in ("all", "clean", "random")}) == 3
    assert drawn["drawn"] == ((0, 0), (1, 0.05), (3, 0.25))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training_severity": "sever"}, "'sever' is not a severity. Did you mean 'severe'. Known: all, random, clean, mild, severe"),
        ({"training_severity": "mild", "severities": {}}, "needs data.severities; none is set"),
        ({"severities": {"random": Corruption(blur=1)}}, "'random' stands for several severities"),
    ],
)
def test_wrong_severities_are_refused(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        shapes(tmp_path, **changes)


def test_a_wrong_setting_of_a_severity_is_named():
    with pytest.raises(UsageError, match="unknown key 'data.severities.mild.blurr'. Did you mean 'blur'. Allowed here: blur, noise"):
        recipe.changed(recipe.load("cosinegate", "cosinegate", "balanced"), ["data.severities.mild.blurr=1"])


def test_a_data_set_of_more_than_8_bits_has_no_severities(tmp_path, monkeypatch):
    pixels = np.ones((4, 9, 9, 5), np.int16)
    scene = Dataset("scene", ["a", "b"], Images(pixels, np.arange(4) % 2), Images(pixels, np.arange(4) % 2), (0.5,) * 5, (0.25,) * 5)
    monkeypatch.setattr(catalogue, "load_indian_pines", lambda root, name: scene)
    with pytest.raises(UsageError, match="for images of 8 bits a channel, not for the int16 of scene"):
        shapes(tmp_path, name="indian-pines")


class Brightness(GatedModel):
    """A network without gates, right where the image is bright."""

    def __init__(self):
        super().__init__()
        self.input_shape, self.macs_static = (3, 16, 16), 10

    def _infer(self, x, execution, decisions, policy):
        none = torch.zeros(len(x), 0)
        bright = x.mean((1, 2, 3))
        return Output(torch.stack([bright, -bright], 1), decisions=none.bool(), count=self.counting(none, False))

    def replay(self, x, outputs):
        none = torch.zeros(len(x), 0)
        return Output(outputs[:, 0], decisions=none.bool(), count=self.counting(none, False))


def test_what_is_scored_is_broken_down_by_severity(tmp_path):
    dataset, model = shapes(tmp_path), Brightness()
    outcome = collect(model, Batches(dataset.test, dataset.mean, dataset.std, batch_size=10, device=torch.device("cpu")), "fp32")
    inputs = per_input(model, dataset, outcome)
    assert inputs["severity"].tolist() == ["clean"] * 12 + ["mild"] * 12 + ["severe"] * 12
    assert inputs["image"].tolist() == list(range(12)) * 3
    table = breakdown(model, dataset, outcome, inputs)
    table = table[table["by"] == "severity"]
    parts = by_severity(outcome, dataset)
    assert table["group"].tolist() == list(parts) == ["clean", "mild", "severe"] and table["inputs"].tolist() == [12] * 3
    assert table["accuracy"].tolist() == pytest.approx([part.accuracy for part in parts.values()])
    assert np.array_equal(np.concatenate([part.predictions for part in parts.values()]), outcome.predictions)
    assert all(part.gates is None and part.decisions.shape == (12, 0) for part in parts.values())
    plain = make_shapes(12, 4, 16, 1)
    assert by_severity(outcome, shapes(tmp_path, severities={})) == {} and plain.severity is None


def test_cached_outputs_are_replayed_where_they_are_given():
    images, outputs = make_shapes(10, 4, 16, 0), torch.randn(10, 1, 4, generator=torch.Generator().manual_seed(0))
    batches = Batches(images, (0.5,) * 3, (0.25,) * 3, batch_size=4, device=torch.device("cpu"), outputs=outputs)
    assert np.array_equal(collect(Brightness(), batches, "fp32").predictions, outputs[:, 0].argmax(1))
