"""Data sets from every source, and batches of them."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from gatebench.data import reading
from gatebench.data.batches import Batches
from gatebench.data.catalogue import CATALOGUE, is_on_disk, load
from gatebench.data.images import Dataset, Images, channel_statistics
from gatebench.data.settings import Data, Shapes
from gatebench.data.shapes import class_names, make_shapes
from gatebench.errors import GatebenchError, MissingData, UsageError

CPU = torch.device("cpu")


def batches(pixels, batch_size=4, **augmentation):
    channels = pixels.shape[-1]
    labels = np.arange(len(pixels)) % 10
    return Batches(Images(pixels, labels), (0.0,) * channels, (1 / 255,) * channels, batch_size=batch_size, device=CPU, **augmentation)


def random_pixels(count=10, side=16, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def test_batches_in_order_are_the_normalised_images():
    pixels = random_pixels()
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    loader = Batches(Images(pixels, np.arange(10)), mean, std, batch_size=4, device=CPU)
    x = torch.cat([batch.x for batch in loader.in_order()]).numpy()
    expected = (pixels / 255 - np.array(mean)) / np.array(std)
    assert x.transpose(0, 2, 3, 1) == pytest.approx(expected, abs=1e-5)
    assert [len(batch.labels) for batch in loader.in_order()] == [4, 4, 2] and len(loader) == 3


@given(seed=st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_every_augmented_image_is_a_padded_crop_or_its_mirror(seed):
    pixels = random_pixels(6)
    seen = []
    for batch in batches(pixels, crop=True, flip=True).shuffled(seed):
        assert batch.x.is_contiguous(memory_format=torch.channels_last)
        for image, label in zip(batch.x.round().permute(0, 2, 3, 1).numpy().astype(np.uint8), batch.labels.tolist(), strict=True):
            seen.append(label)
            padded = np.pad(pixels[label], ((2, 2), (2, 2), (0, 0)))  # an eighth of 16
            crops = [padded[dy : dy + 16, dx : dx + 16] for dy in range(5) for dx in range(5)]
            assert any(np.array_equal(image, crop) or np.array_equal(image, crop[:, ::-1]) for crop in crops)
    assert sorted(seen) == list(range(6))


def test_the_seed_decides_order_and_augmentation():
    loader = batches(random_pixels(40), crop=True, flip=True)
    first, again, other = (torch.cat([batch.x for batch in loader.shuffled(seed)]) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_crops_and_flips_are_spread_evenly():
    pixels = np.zeros((1, 16, 16, 1), np.uint8)
    pixels[0, 8, 4] = 255
    loader = batches(np.repeat(pixels, 4000, 0), batch_size=4000, crop=True, flip=True)
    x = next(loader.shuffled(0)).x
    rows, columns = (torch.nonzero(x[:, 0] > 0)[:, axis] for axis in (1, 2))
    assert [(rows == row).float().mean().item() for row in range(6, 11)] == pytest.approx([0.2] * 5, abs=0.03)
    assert (columns < 8).float().mean().item() == pytest.approx(0.5, abs=0.03)  # not mirrored


def test_digits_are_cropped_and_not_mirrored():
    pixels = random_pixels(4)
    for batch in batches(pixels, crop=True).shuffled(3):
        for image, label in zip(batch.x.round().permute(0, 2, 3, 1).numpy().astype(np.uint8), batch.labels.tolist(), strict=True):
            padded = np.pad(pixels[label], ((2, 2), (2, 2), (0, 0)))
            assert any(np.array_equal(image, padded[dy : dy + 16, dx : dx + 16]) for dy in range(5) for dx in range(5))


@pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (1, [1]), (3, [3])])
def test_no_batch_of_one_image_is_left_over(count, sizes):
    loader = batches(random_pixels(count))
    assert [len(batch.labels) for batch in loader.shuffled(0)] == sizes and len(loader) == len(sizes)


def test_the_fingerprint_is_of_pixels_and_labels(tmp_path):
    one, same, other = (load(Data(name="shapes", shapes=Shapes(train=20, test=20, seed=seed)), tmp_path) for seed in (0, 0, 1))
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (0.4,) * 3}, {"std": (0.3,) * 3}, {"mirrors": False}, {"scored": "validation"}, {"classes": ["a", "b", "c"]},
        {"train": Images(random_pixels(8, seed=1), np.arange(8) % 2)}, {"test": Images(random_pixels(4), np.array([0, 1, 1, 1]))},
        {"train": Images(random_pixels(8).reshape(8, 32, 8, 3), np.arange(8) % 2)},
        {"validation": Images(random_pixels(2), np.array([0, 1]))},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_the_digest_is_of_all_that_decides_a_run_s_numbers(changes):
    train, test = Images(random_pixels(8), np.arange(8) % 2), Images(random_pixels(4), np.array([0, 1, 0, 1]))
    dataset = Dataset("one", ["a", "b"], train, test, (0.5,) * 3, (0.25,) * 3)
    assert replace(dataset, **changes).describe()["digest"] != dataset.describe()["digest"]
    named = replace(dataset, name="another", classes=["cat", "dog"])
    assert named.describe()["digest"] == dataset.describe()["digest"], "names decide nothing"


def described(data, root):
    """As another process describes it, and whether that read the images."""
    for each in (reading._read, reading._original, reading._describe, reading._state_once):
        each.cache_clear()
    return reading.describe(data, root), bool(reading._read.cache_info().currsize)


@pytest.mark.parametrize("source", ["folder", "npz", "shapes"])
def test_a_data_set_that_was_described_before_is_not_read_again(tmp_path, folder, source):
    np.savez(tmp_path / "own.npz", **{f"{part}_{what}": value for part in ("train", "test")
                                      for what, value in (("images", random_pixels(20)), ("labels", np.arange(20) % 2))})  # fmt: skip
    name = {"folder": str(folder), "npz": str(tmp_path / "own.npz"), "shapes": "shapes"}[source]
    corrupted = {"severities": {"clean": {}, "soft": {"blur": 1}}, "training_severity": "random"}
    data = Data(name=name, image_size=16, shapes=Shapes(train=20, test=10, image_size=16), validation=2, **corrupted)
    for wanted in (data, data.model_copy(update={"validation": 3}), data.model_copy(update={"training_severity": "soft"})):
        first, again = described(wanted, tmp_path / "root"), described(wanted, tmp_path / "root")
        assert [read for _, read in (first, again)] == [True, False]
        assert first[0] == again[0] == json.loads(json.dumps(load(wanted, tmp_path).describe()))


def test_changed_files_are_described_anew(folder, tmp_path):
    """Whatever their sizes and times say."""
    image, data, seen = folder / "train" / "cat" / "0.png", Data(name=str(folder), image_size=16), []
    before = image.stat()
    for colour in (0, 1, 0):
        Image.new("RGB", (16, 16), (colour, 7, 7)).save(image, compress_level=0)
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        seen.append((*described(data, tmp_path), image.stat().st_size))
    digests, read, sizes = [each["digest"] for each, _, _ in seen], [each for _, each, _ in seen], {each for *_, each in seen}
    assert digests[0] == digests[2] != digests[1] and read == [True, True, False] and len(sizes) == 1
    image.rename(folder / "train" / "dog" / "3.png")
    assert described(data, tmp_path)[0]["digest"] not in digests


def test_a_damaged_description_is_made_again(folder, tmp_path):
    data = Data(name=str(folder), image_size=16)
    whole, _ = described(data, tmp_path)
    (kept,) = (tmp_path / reading.KEPT).iterdir()
    entry = json.loads(kept.read_text())
    other = entry | {"described": entry["described"] | {"digest": "x"}}
    for damaged in ("", "[]", '{"name": "photos"}', json.dumps(other)):
        kept.write_text(damaged)
        assert described(data, tmp_path) == (whole, True) and described(data, tmp_path) == (whole, False)


def test_a_data_set_that_is_gone_or_lies_elsewhere_is_noticed(tmp_path, monkeypatch):
    """torchvision takes MNIST from MNIST/processed where that is there."""
    assert tmp_path / "MNIST" / "processed" in reading.catalogue.files("mnist", tmp_path)
    monkeypatch.setattr(reading, "_read", lambda data, root: SimpleNamespace(describe=lambda: {"name": "mnist", "digest": str(root)}))
    for _ in range(2):  # of files that are not there nothing is kept
        reading._describe.cache_clear()
        reading.describe(Data(name="mnist"), tmp_path)
    assert not (tmp_path / reading.KEPT).exists()


def test_a_file_is_not_a_folder_of_its_name(tmp_path):
    (tmp_path / "one" / "x.bmp").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "x.bmp").touch()
    assert reading.digest_of_files([tmp_path / "one"]) != reading.digest_of_files([tmp_path / "two"]) != reading.digest_of_files([]) == ""


def test_a_root_that_cannot_be_written_to_will_do(folder, tmp_path):
    root = tmp_path / "file"
    root.write_text("")
    data = Data(name=str(folder), image_size=16)
    assert described(data, root)[1] and described(data, root)[1]


def test_images_that_change_while_they_are_read_are_not_kept(folder, tmp_path, monkeypatch):
    def changing(data, root, read):
        (folder / "train" / "cat" / "0.png").unlink()
        return load(data, root, read)

    monkeypatch.setattr(reading.catalogue, "load", changing)
    described(Data(name=str(folder), image_size=16), tmp_path)
    assert not (tmp_path / reading.KEPT).exists()


def test_shapes_are_reproducible_balanced_and_differ_by_seed():
    one, same, other = make_shapes(60, 10, 20, 1), make_shapes(60, 10, 20, 1), make_shapes(60, 10, 20, 2)
    assert one.pixels.shape == (60, 20, 20, 3) and one.pixels.dtype == np.uint8
    assert np.array_equal(one.pixels, same.pixels) and not np.array_equal(one.pixels, other.pixels)
    assert np.bincount(one.labels).tolist() == [6] * 10
    assert 0 <= one.difficulty.min() < 0.2 and 0.8 < one.difficulty.max() <= 1


@pytest.mark.parametrize("classes", [2, 10, 40, 100])
def test_shapes_of_any_number_of_classes_have_names_of_their_own(classes):
    assert len(set(class_names(classes))) == classes
    assert set(make_shapes(2 * classes, classes, 16, 0).labels) == set(range(classes))


def test_difficulty_is_real():
    """A nearest-centroid classifier on gradient-free features does worse the harder an image is said to be."""
    from scipy import ndimage

    train, test = (make_shapes(count, 2, 24, seed) for count, seed in ((1500, 1), (1500, 2)))

    def features(images):  # solid or ring: how the centre differs from a band around it
        grey = np.abs(images.pixels.mean(3) - np.median(images.pixels.mean(3), axis=(1, 2), keepdims=True))
        moved = [ndimage.shift(image, 11.5 - np.array(ndimage.center_of_mass(image**2 + 1e-9)), order=1) for image in grey]
        radius = np.hypot(*np.meshgrid(np.arange(24) - 11.5, np.arange(24) - 11.5))
        rings = [np.stack(moved)[:, (radius >= low) & (radius < low + 2)].mean(1) for low in range(0, 10, 2)]
        return np.stack(rings, 1) / (np.stack(rings, 1).sum(1, keepdims=True) + 1e-9)

    centroids = np.stack([features(train)[train.labels == label].mean(0) for label in (0, 1)])
    right = np.linalg.norm(features(test)[:, None] - centroids, axis=2).argmin(1) == test.labels
    easy, hard = right[test.difficulty < 0.3].mean(), right[test.difficulty > 0.7].mean()
    assert easy > hard + 0.1, (easy, hard)


def test_validation_is_carved_from_train_by_a_fixed_seed(tmp_path):
    shapes = Shapes(train=50, test=20, image_size=16)
    plain = Data(name="shapes", shapes=shapes)
    whole = load(plain, tmp_path)
    chosen_on = load(plain.model_copy(update={"validation": 10}), tmp_path)
    scored_on = load(plain.model_copy(update={"validation": 10, "scored": "validation"}), tmp_path)
    assert (len(whole.train), len(whole.test), whole.validation, whole.scored) == (50, 20, None, "test")
    assert (len(chosen_on.train), len(chosen_on.test), len(chosen_on.validation), chosen_on.scored) == (40, 20, 10, "test")
    assert (len(scored_on.train), len(scored_on.test), scored_on.validation, scored_on.scored) == (40, 10, None, "validation")
    rows = {image.tobytes() for image in whole.train.pixels}
    for held in (chosen_on.validation, scored_on.test):
        assert {image.tobytes() for image in chosen_on.train.pixels} | {image.tobytes() for image in held.pixels} == rows
    with pytest.raises(UsageError, match="leaves nothing of the 50 training images"):
        load(Data(name="shapes", shapes=shapes, validation=50), tmp_path)


@given(count=st.integers(2, 40), sizes=st.tuples(st.integers(0, 39), st.integers(1, 39)), other=st.integers(0, 39))
@settings(deadline=None)
def test_rest_holdout_and_validation_never_share_an_image(count, sizes, other):
    validation, holdout = sizes[0] % count, sizes[1] % count
    if validation + holdout >= count:
        return
    pixels = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    dataset = Dataset("made", ["a", "b"], Images(pixels, np.arange(count) % 2), Images(pixels, np.arange(count) % 2), (0.5,), (0.25,))
    rest, held = dataset.carve(validation, holdout, "rest"), dataset.carve(validation, holdout, "holdout")
    parts = [part.pixels.ravel().tolist() for part in (rest.train, held.train, rest.validation) if part]
    assert sorted(sum(parts, [])) == list(range(count)) and len(held.train) == holdout
    another = dataset.carve(other % (count - holdout), holdout, "holdout")
    assert np.array_equal(another.train.pixels, held.train.pixels), "the holdout does not depend on how much is validation"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"validation": 30, "holdout": 20}, "data.validation = 30 and data.holdout = 20 leave nothing of the 50 training images"),
        ({"holdout": 50}, "data.holdout = 50 leaves nothing of the 50 .* Give --set data.holdout=5."),
        ({"train_on": "holdout"}, "wants data.holdout"),
    ],
)
def test_parts_that_cannot_be_carved_are_refused(tmp_path, data, said):
    with pytest.raises(UsageError, match=said):
        load(Data(name="shapes", shapes=Shapes(train=50, test=20, image_size=16), **data), tmp_path)


def test_digests_of_earlier_versions_hold():
    """Runs are named by them."""
    pixels = (np.arange(8 * 16 * 16 * 3) % 251).astype(np.uint8).reshape(8, 16, 16, 3)
    dataset = Dataset("one", ["a", "b"], Images(pixels, np.arange(8) % 2), Images(pixels[:4], np.arange(4) % 2), (0.5,) * 3, (0.25,) * 3)
    assert [each.describe()["digest"] for each in (dataset, dataset.carve(3))] == ["682002a2", "6b704631"]
    names = ("name", "augment", "validation", "image_size", "shapes")
    assert tuple(Data().model_dump()) == names, "new settings that are not used are not in recipes"


def test_statistics_are_those_of_the_pixels():
    pixels = random_pixels(20)
    mean, std = channel_statistics(pixels)
    assert mean == pytest.approx(tuple((pixels / 255).mean((0, 1, 2)))) and std == pytest.approx(tuple((pixels / 255).std((0, 1, 2))))


def npz(path, **changes):
    arrays = {"train_images": random_pixels(8), "train_labels": np.arange(8)[:, None] % 4,
              "test_images": random_pixels(4), "test_labels": np.arange(4)[:, None], **changes}  # fmt: skip
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return str(path)


def test_an_npz_in_medmnist_s_layout(tmp_path):
    dataset = load(Data(name=npz(tmp_path / "blood.npz")), tmp_path)
    assert (dataset.name, dataset.input_shape, len(dataset.classes), len(dataset.train)) == ("blood", (3, 16, 16), 4, 8)
    one_channel = {"train_images": random_pixels(8)[..., 0], "test_images": random_pixels(4)[..., 0]}
    grey = load(Data(name=npz(tmp_path / "grey.npz", **one_channel)), tmp_path)
    assert grey.input_shape == (1, 16, 16)


def test_cifar100_npz_in_the_root_stands_for_torchvision_s_files(tmp_path):
    labels, names = np.arange(100), np.array([f"class {label}" for label in range(100)])
    pixels = random_pixels(100, side=32)
    npz(tmp_path / "cifar100.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels, classes=names)
    assert is_on_disk("cifar100", tmp_path)
    dataset = load(Data(name="cifar100"), tmp_path)
    assert dataset.name == "cifar100" and dataset.classes == names.tolist()
    npz(tmp_path / "cifar10.npz")
    with pytest.raises(UsageError, match="holds .16, 16, 3. images of 4 classes, but cifar10 has .32, 32, 3. of 10"):
        load(Data(name="cifar10"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_labels": None}, "lacks test_labels"),
        ({"train_images": random_pixels(8).astype(np.float32)}, "train_images must be uint8"),
        ({"train_labels": np.arange(7)}, "train_images has 8 images, train_labels 7 labels"),
        ({"train_labels": np.arange(8) - 1}, "whole numbers from 0"),
        ({"test_images": random_pixels(4, side=20)}, "must be alike"),
        ({"test_images": random_pixels(4)[:, :0]}, "test_images is empty"),
        ({"train_labels": np.array([0, 1, 2, 3, 4, 5, 6, 3_000_000])}, "labels up to 3000000 for 8 training images"),
        ({"train_labels": np.zeros(8, int), "test_labels": np.zeros(4, int)}, "two or more classes"),
    ],
)
def test_an_npz_that_is_something_else_is_refused(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        load(Data(name=npz(tmp_path / "odd.npz", **changes)), tmp_path)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UsageError, match="not a readable .npz"):
        load(Data(name=str(tmp_path / "text.npz")), tmp_path)


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random_pixels(1, side=20 + label)[0]).save(tmp_path / "pets" / split / name / f"{number}.png")
    return tmp_path / "pets"


def test_a_folder_of_images(folder, tmp_path):
    dataset = load(Data(name=str(folder), image_size=16), tmp_path)
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("pets", ["cat", "dog"], (3, 16, 16))
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="sizes; give one with --set data.image_size"):
        load(Data(name=str(folder)), tmp_path)
    (folder / "train" / "cat" / "broken.png").write_text("no image")
    with pytest.raises(UsageError, match="broken.png is not a readable image"):
        load(Data(name=str(folder), image_size=16), tmp_path)
    flat = tmp_path / "flat"
    for split in ("train", "test"):
        (flat / split).mkdir(parents=True)
        (flat / split / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match="has no class folders; wanted are train/<class>"):
        load(Data(name=str(flat)), tmp_path)
    (folder / "train").rename(folder / "pictures")
    with pytest.raises(UsageError, match="has no folder 'train'"):
        load(Data(name=str(folder)), tmp_path)


def test_hidden_files_are_no_images_and_empty_or_deep_ones_are_named(folder, tmp_path):
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "cat" / "._0.png").write_text("no image")
    assert len(load(Data(name=str(folder), image_size=16), tmp_path).train) == 6
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(folder / "train" / "cat" / "deep.png")
    with pytest.raises(UsageError, match="deep.png has more than 8 bits a channel"):
        load(Data(name=str(folder), image_size=16), tmp_path)
    (folder / "train" / "cat" / "deep.png").unlink()
    for split in ("train", "test"):
        (folder / split / "fox").mkdir()
        (folder / split / "fox" / "._0.png").write_text("no image")
    with pytest.raises(UsageError, match="fox holds no images"):
        load(Data(name=str(folder), image_size=16), tmp_path)


def test_an_image_size_that_would_do_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Use data.shapes.image_size"):
        load(Data(name="shapes", image_size=32, shapes=Shapes(train=20, test=20, image_size=16)), tmp_path)
    with pytest.raises(UsageError, match="those of .*grey.npz are 16 x 16"):
        load(Data(name=npz(tmp_path / "grey.npz"), image_size=32), tmp_path)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_set_whose_download_fails_is_missing_however_often_it_is_asked_for(name, tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    for _ in range(2):
        with pytest.raises(MissingData, match=f"{name} is not below"):
            load(Data(name=name), tmp_path)
        assert not is_on_disk(name, tmp_path)


def test_unknown_and_missing_sets(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="No data set is named 'CIFAR10'. Did you mean 'cifar10'"):
        load(Data(name="CIFAR10"), tmp_path)
    with pytest.raises(UsageError, match="No data set is named 'cifar1'. Did you mean 'cifar10'"):
        load(Data(name="cifar1"), tmp_path)
    with pytest.raises(UsageError, match="There is no folder or .npz file at ./nothing"):
        load(Data(name="./nothing"), tmp_path)

    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", offline)
    with pytest.raises(MissingData, match="cifar10 is not below .* cannot be downloaded .no network.*--data-dir"):
        load(Data(name="cifar10"), tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir(exist_ok=True)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half a file")
    with pytest.raises(GatebenchError, match="files of cifar10 at .* are damaged or not all there .no network.*Remove them") as found:
        load(Data(name="cifar10"), tmp_path)
    assert not isinstance(found.value, MissingData), "half a data set is not replaced by another"


def test_real_cifar10(datasets):
    dataset = load(Data(name="cifar10"), datasets)
    assert (len(dataset.train), len(dataset.test), dataset.input_shape) == (50_000, 10_000, (3, 32, 32))
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert channel_statistics(dataset.train.pixels)[0] == pytest.approx(dataset.mean, abs=1e-3)


def test_intel_scenes_in_both_layouts(tmp_path):
    with pytest.raises(MissingData, match="puneet6060/intel-image-classification and put its images at .*intel-scenes/train/<class>/"):
        load(Data(name="intel-scenes"), tmp_path)
    assert not is_on_disk("intel-scenes", tmp_path)
    for splits in (("train", "test"), ("seg_train/seg_train", "seg_test/seg_test")):
        root = tmp_path / splits[0].replace("/", "-")
        for split, count in zip(splits, (3, 2), strict=True):
            for label, name in enumerate(("forest", "sea")):
                (root / "intel-scenes" / split / name).mkdir(parents=True)
                for number in range(count):
                    Image.fromarray(random_pixels(1, side=150 + label)[0]).save(root / "intel-scenes" / split / name / f"{number}.jpg")
        assert is_on_disk("intel-scenes", root)
        dataset = load(Data(name="intel-scenes"), root)
        assert (dataset.name, dataset.classes, dataset.input_shape) == ("intel-scenes", ["forest", "sea"], (3, 128, 128))
        assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert load(Data(name="intel-scenes", image_size=64), root).input_shape == (3, 64, 64)


def test_real_intel_scenes(datasets):
    if not is_on_disk("intel-scenes", datasets):
        pytest.skip(f"Intel's scenes are not below {datasets}")
    dataset = load(Data(name="intel-scenes"), datasets)
    assert dataset.classes == ["buildings", "forest", "glacier", "mountain", "sea", "street"]
    assert dataset.input_shape == (3, 128, 128) and len(dataset.train) > 1000 and len(dataset.test) > 1000


def test_real_mnist(datasets):
    dataset = load(Data(name="mnist"), datasets)
    assert (len(dataset.train), len(dataset.test), dataset.input_shape) == (60_000, 10_000, (1, 28, 28))


@pytest.fixture
def scene(tmp_path):
    """A made cube of the real one's kind: fields of 16 classes in stripes, unlabelled paths between them."""
    draw = np.random.default_rng(0)
    labels = np.zeros((96, 96), np.uint8)
    for row in range(0, 96, 6):
        labels[row : row + 5, :] = row // 6 + 1
    spectra = draw.integers(1000, 8000, (17, 20))
    cube = (spectra[labels] + draw.integers(-50, 50, (96, 96, 20))).astype(np.uint16)
    folder = tmp_path / "indian-pines"
    folder.mkdir()
    return folder, cube, labels


@pytest.mark.parametrize("ending", ["npy", "mat"])
def test_indian_pines_patches_of_training_hold_no_test_pixel(scene, tmp_path, ending):
    folder, cube, labels = scene
    for name, array in (("Indian_pines_corrected", cube), ("Indian_pines_gt", labels)):
        np.save(folder / f"{name}.npy", array) if ending == "npy" else savemat(folder / f"{name}.mat", {name.lower(): array})
    dataset = load(Data(name="indian-pines"), tmp_path)
    assert dataset.input_shape == (20, 9, 9) and dataset.train.pixels.dtype == np.int16 and len(dataset.classes) == 16
    assert set(dataset.train.labels) == set(dataset.validation.labels) == set(dataset.test.labels) == set(range(16))
    inside = [{tuple(pixel) for patch in part.pixels for pixel in patch.reshape(-1, 20)} for part in (dataset.train, dataset.validation)]
    centres = [{tuple(patch[4, 4]) for patch in part.pixels} for part in (dataset.validation, dataset.test)]
    assert all(centres) and not centres[0] & inside[0] and not centres[1] & (inside[0] | inside[1])  # made spectra are all different
    assert load(Data(name="indian-pines", validation=1), tmp_path).validation is not None
    tried = load(Data(name="indian-pines", validation=1, scored="validation"), tmp_path)
    assert np.array_equal(tried.test.labels, dataset.validation.labels) and tried.validation is None
    where = {tuple(spectrum): label for spectrum, label in zip(cube.reshape(-1, 20), labels.ravel(), strict=True)}
    assert all(where[tuple(patch[4, 4])] == label + 1 for patch, label in zip(dataset.test.pixels, dataset.test.labels, strict=True))
    x = next(Batches(dataset.train, dataset.mean, dataset.std, batch_size=500, device=torch.device("cpu")).in_order()).x
    assert np.allclose(32767 * np.array(dataset.mean), dataset.train.pixels.mean((0, 1, 2)), rtol=1e-4), "statistics are those of train"
    assert x.shape[1:] == (20, 9, 9) and abs(float(x.mean())) < 0.2 and 0.7 < float(x.std()) < 1.3


def test_indian_pines_by_pixels_differs_in_the_split_alone(scene, tmp_path):
    folder, cube, labels = scene
    for name, array in (("Indian_pines_corrected", cube), ("Indian_pines_gt", labels)):
        np.save(folder / f"{name}.npy", array)
    squares, pixels = (load(Data(name=name), tmp_path) for name in ("indian-pines", "indian-pines-random"))
    assert pixels.name == "indian-pines-random" and pixels.classes == squares.classes
    for part in ("train", "validation", "test"):
        own, other = (np.bincount(getattr(each, part).labels) for each in (pixels, squares))
        assert np.array_equal(own, other), part
    centres = [{tuple(patch[4, 4]) for patch in part.pixels} for part in (pixels.train, pixels.validation, pixels.test)]
    assert not centres[0] & centres[1] and not centres[0] & centres[2] and not centres[1] & centres[2]
    inside = {tuple(pixel) for patch in pixels.train.pixels for pixel in patch.reshape(-1, 20)}
    assert len(centres[2] & inside) > 0.9 * len(centres[2]), "nearly all that is tested was seen in training"


def test_a_class_of_one_field_is_left_out(scene, tmp_path):
    folder, cube, labels = scene
    labels = labels.copy()
    labels[labels == 5] = 0
    labels[2:4, 2:6] = 5
    for name, array in (("Indian_pines_corrected", cube), ("Indian_pines_gt", labels)):
        np.save(folder / f"{name}.npy", array)
    dataset = load(Data(name="indian-pines"), tmp_path)
    assert len(dataset.classes) == 15 and "grass-pasture" not in dataset.classes and "corn" in dataset.classes
    assert set(dataset.train.labels) == set(range(15))


def test_indian_pines_that_is_missing_or_something_else_is_named(scene, tmp_path):
    folder, cube, labels = scene
    with pytest.raises(MissingData, match="Put Indian_pines_corrected.mat and Indian_pines_gt.mat"):
        load(Data(name="indian-pines"), tmp_path)
    np.save(folder / "Indian_pines_corrected.npy", cube)
    np.save(folder / "Indian_pines_gt.npy", labels[:50])
    with pytest.raises(UsageError, match="wanted are .H, W, bands. and .H, W."):
        load(Data(name="indian-pines"), tmp_path)
    for wrong in (cube / 8000, np.where(cube == cube.max(), np.nan, cube), cube.astype(str), cube[..., :0]):
        np.save(folder / "Indian_pines_corrected.npy", wrong)
        np.save(folder / "Indian_pines_gt.npy", labels)
        with pytest.raises(UsageError, match="whole numbers of 0 to 32767"):
            load(Data(name="indian-pines"), tmp_path)
    np.save(folder / "Indian_pines_corrected.npy", cube.astype(float))  # whole ones of whatever type will do
    assert load(Data(name="indian-pines"), tmp_path).train.pixels.max() == cube.max()
    (folder / "Indian_pines_gt.npy").unlink()
    savemat(folder / "Indian_pines_gt.mat", {"one": labels, "other": labels})
    with pytest.raises(UsageError, match="holds one, other; wanted is one array"):
        load(Data(name="indian-pines"), tmp_path)
    (folder / "Indian_pines_gt.npy").write_bytes(b"damaged")
    with pytest.raises(GatebenchError, match="Get the public file anew"):
        load(Data(name="indian-pines"), tmp_path)


def test_batches_carry_the_cached_outputs_of_their_images():
    outputs = torch.arange(10.0)[:, None, None].expand(10, 2, 4)
    loader = batches(random_pixels(10), outputs=outputs)
    for batch in (*loader.in_order(), *loader.shuffled(3)):
        assert batch.outputs.shape == (len(batch.labels), 2, 4) and torch.equal(batch.outputs[:, 0, 0].long(), batch.labels)
    assert next(batches(random_pixels(10)).in_order()).outputs is None
    with pytest.raises(UsageError, match="Cached outputs of parents are those of the images as they are"):
        batches(random_pixels(10), outputs=outputs, flip=True)


def test_rand_augment_changes_images_as_the_seed_says():
    images = make_shapes(40, 4, 16, 0)
    options = {"batch_size": 20, "device": torch.device("cpu"), "crop": True, "flip": True}
    plain, changed = (Batches(images, (0.5,) * 3, (0.25,) * 3, rand=rand, **options) for rand in (False, True))

    def batch(batches):
        torch.manual_seed(0)
        return next(batches.shuffled(1))

    left, changed_once, again = batch(plain), batch(changed), batch(changed)
    assert torch.equal(left.labels, changed_once.labels) and torch.equal(changed_once.x, again.x)
    other = changed_once.x
    assert (left.x != other).flatten(1).any(1).float().mean() > 0.8 and other.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(next(plain.in_order()).x, next(changed.in_order()).x)  # what is scored is left as it is
