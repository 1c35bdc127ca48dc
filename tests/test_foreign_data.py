"""Images and arrays as people have them: read with the right pixels, labels and parts, and a word on what was left out, or refused."""

import io
import json
import os
import struct
import sys
import types
import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image, features

from gatebench.data import folders, reading
from gatebench.data.catalogue import load
from gatebench.data.settings import Data
from gatebench.errors import UsageError

SIDE = 6


@dataclass
class Link:
    to: str


@dataclass
class Read:
    """What a data set is read as."""

    train: int = 2
    test: int = 2
    validation: int | None = None
    shape: tuple = (3, SIDE, SIDE)
    first: object = None
    """Pixels of the first training image, or one value that all have."""
    notes: list = field(default_factory=list)
    """All notes, or the beginning of each."""
    near: int = 0
    """By how much pixels may differ."""

    def check(self, dataset):
        counts = [len(part) if part else None for part in (dataset.train, dataset.test, dataset.validation)]
        assert counts == [self.train, self.test, self.validation]
        assert dataset.input_shape == self.shape and dataset.train.pixels.dtype == np.uint8
        assert len(dataset.notes) == len(self.notes), dataset.notes
        for note, begins in zip(dataset.notes, self.notes, strict=True):
            assert note.startswith(begins), (note, begins)
        if self.first is not None:
            assert np.abs(dataset.train.pixels[0].astype(int) - self.first).max() <= self.near, dataset.train.pixels[0].squeeze()


def opened(path, image_size=None):
    return load(Data(name=str(path), image_size=image_size), path.parent)


# Folders


def full(value, mode="RGB", size=(SIDE, SIDE)):
    return Image.new(mode, size, (value,) * 3 if mode == "RGB" else value)


def array(values, dtype=np.uint8):
    return Image.fromarray(np.asarray(values, dtype))


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png_of(raw, depth, colour, chunks=()):
    """A PNG that Pillow does not write: rows of bytes, of any depth and colour type."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row for row in raw)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tree(path, files):
    """Images, bytes, links and FIFOs (None) by where they lie below `path`."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            file.symlink_to(content.to)
        elif isinstance(content, bytes):
            file.write_bytes(content)
        elif content is None:
            os.mkfifo(file)
        else:
            content.save(file)
    return path


def parts(*names, value=7, mode="RGB"):
    return {f"{name}/{label}/0.png": full(value, mode) for name in names for label in ("a", "b")}


BASE = parts("train", "test")
MARK = np.full((SIDE, SIDE), 20, np.uint8)
MARK[0, 1], MARK[1, 0] = 200, 120
"""An image that every turn changes."""
ALPHA = np.zeros((SIDE, SIDE), np.uint8)
ALPHA[2:4, 2:4] = 255
BLACK_ON_NOTHING = np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), ALPHA])
GLYPH = np.repeat(255 - ALPHA[..., None], 3, 2)
TWO = array(np.repeat(ALPHA[..., None], 3, 2) // 2).quantize(2)
TWO_ON_WHITE = np.where(ALPHA == 0, 255, 127)[..., None]
EXIF = Image.Exif()


def turned(orientation):
    EXIF[0x0112] = orientation
    return EXIF


SIDEWAYS = array(np.repeat([[[0] * 3, [200] * 3]], 8, 1).repeat(8, 0))
"""Its left half is black, which the camera held upwards."""
UPRIGHT = {1: MARK, 2: MARK[:, ::-1], 3: MARK[::-1, ::-1], 4: MARK[::-1], 5: MARK.T, 6: np.rot90(MARK, -1), 7: np.rot90(MARK, 2).T,
           8: np.rot90(MARK)}  # fmt: skip
DEEP = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
GREY = "all images are grey and have one channel."
FIRST = "train/a/0.png"
SPLIT = "2 class folders and no parts: 20% of the images of each, 4 of 20, are the test part, drawn by file name with seed 0."


def all_of(image):
    return {name: image for name in BASE}


FOLDERS = {
    "plain": (BASE, Read(first=7)),
    "train and val": (parts("train", "val"), Read(notes=["there is no test part; val (2 images) is scored in its place."])),
    "train and valid": (parts("train", "valid"), Read(notes=["there is no test part; valid (2 images)"])),
    "train and validation": (parts("train", "validation"), Read(notes=["there is no test part; validation (2 images)"])),
    "train, val and test": (parts("train", "val", "test"), Read(validation=2, notes=["val (2 images) is the validation part."])),
    "names in capitals": (parts("Train", "Validation", "TEST"), Read(validation=2, notes=["Validation (2 images) is the validation"])),
    "training and testing": (parts("training", "testing"), Read()),
    "other folders beside": (BASE | {"extra/x.png": full(1)}, Read()),
    "one folder of classes": (
        {f"{label}/{number}.png": full(number) for label in ("a", "b") for number in range(10)},
        Read(16, 4, notes=[SPLIT]),
    ),
    "a class of trains": (
        {f"{label}/{number}.png": full(3) for label in ("bus", "train") for number in range(2)},
        Read(2, 2, notes=["2 class folders"]),
    ),
    "valid and invalid": (
        {f"{label}/{number}.png": full(3) for label in ("valid", "invalid") for number in range(2)},
        Read(2, 2, notes=["2 class folders"]),
    ),
    "folders in a class": (BASE | {"train/a/deeper/still/1.png": full(9)}, Read(train=3)),
    "a link to a file": (BASE | {"train/a/1.png": Link("0.png")}, Read(train=3)),
    "a link to a file elsewhere": (BASE | {"../store/x.png": full(5), "train/a/1.png": Link("../../../store/x.png")}, Read(train=3)),
    "a linked part": (
        parts("test") | {"../store/train/a/0.png": full(5), "../store/train/b/0.png": full(5), "train": Link("../store/train")},
        Read(first=5),
    ),
    "heic": (
        BASE | {f"train/a/{number}.HEIC": b"x" for number in range(3)},
        Read(notes=["3 of 7 files were left out: .heic (3; install pillow-heif)."]),
    ),
    "one text": (BASE | {"train/a/notes.txt": b"x"}, Read(notes=["1 of 5 files was left out: .txt (1; not read by Pillow)."])),
    "no ending": (BASE | {"test/a/IMG_1": b"x"}, Read(notes=["1 of 5 files was left out: no ending (1)."])),
    "hidden": (
        BASE | {"train/a/._0.png": b"x", "train/.DS_Store": b"x", "train/.cache/a.png": b"x"},
        Read(notes=["2 of 6 files were left out: hidden (2)."]),
    ),
    "hidden folder in a class": (
        BASE | {"train/a/.ipynb_checkpoints/0.png": full(1)},
        Read(notes=["1 of 5 files was left out: hidden (1)."]),
    ),
    "beside classes": (BASE | {"train/labels.csv": b"x"}, Read(notes=["1 of 5 files was left out: outside of class folders (1)."])),
    "a broken link": (BASE | {"train/a/1.png": Link("gone.png")}, Read(notes=["1 of 5 files was left out: broken links (1)."])),
    "a fifo": (BASE | {"train/a/1.png": None}, Read(notes=["1 of 5 files was left out: no regular files (1)."])),
    "many kinds": (
        BASE | {f"train/a/{number}.x{number % 8}": b"x" for number in range(10)},
        Read(
            notes=[
                "10 of 14 files were left out: .x0 (2; not read by Pillow), .x1 (2; not read by Pillow), .x2 (1; not read by Pillow), "
                ".x3 (1; not read by Pillow), .x4 (1; not read by Pillow), .x5 (1; not read by Pillow), others (2)."
            ]
        ),
    ),
    "an ending that writes to terminals": (BASE | {"train/a/x.\x1b[31m": b"x"}, Read(notes=["1 of 5 files was left out: .\\x1b[31m (1"])),
    "several frames": (
        BASE
        | {
            "train/a/0.gif": encoded(full(9), "GIF", save_all=True, append_images=[full(200)]),
            "train/a/1.tif": encoded(full(8), "TIFF", save_all=True, append_images=[full(1)]),
        },
        Read(train=4, first=9, notes=["2 images are of several frames, of which the first is read."]),
    ),
    "exif that is damaged": (BASE | {FIRST: encoded(full(9), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\1\x12")}, Read(first=9)),
    "a photograph on its side": (
        {
            name.replace("png", "jpg"): encoded(SIDEWAYS, "JPEG", exif=turned(6).tobytes()) if name == FIRST else full(8, size=(8, 16))
            for name in BASE
        },
        Read(shape=(3, 16, 8), first=np.repeat([[[0]], [[200]]], 8, 0), near=3, notes=["1 image is turned upright, as EXIF"]),
    ),
    "a tiff on its side": (
        {
            name.replace("png", "tif"): encoded(SIDEWAYS, "TIFF", exif=turned(6)) if name == FIRST else full(8, size=(8, 16))
            for name in BASE
        },
        Read(shape=(3, 16, 8), first=np.repeat([[[0]], [[200]]], 8, 0), notes=["1 image is turned upright, as EXIF"]),
    ),
    "transparent": (BASE | {FIRST: array(BLACK_ON_NOTHING)}, Read(first=GLYPH, notes=["1 image is set on white, where they are"])),
    "half transparent": (
        all_of(full((10, 20, 30, 128), "RGBA")),
        Read(first=np.array([132, 137, 142]), near=1, notes=["4 images are set on white"]),
    ),
    "wholly transparent": (BASE | {FIRST: full((9, 9, 9, 0), "RGBA")}, Read(first=255, notes=["1 image is set on white"])),
    "opaque with an alpha channel": (all_of(full((7, 7, 7, 255), "RGBA")), Read(first=7)),
    "transparent palette": (
        BASE | {FIRST: encoded(TWO, "GIF", transparency=TWO.getpixel((0, 0)))},
        Read(first=TWO_ON_WHITE, notes=["1 image is set on white"]),
    ),
    "a transparent colour": (
        BASE | {FIRST: encoded(array(np.repeat(MARK[..., None], 3, 2)), "PNG", transparency=(20, 20, 20))},
        Read(first=np.where(MARK == 20, 255, MARK)[..., None], notes=["1 image is set on white"]),
    ),
    "grey": (all_of(array(MARK)), Read(shape=(1, SIDE, SIDE), first=MARK[..., None], notes=[GREY])),
    "black and white": (all_of(full(1, "1")), Read(shape=(1, SIDE, SIDE), first=255, notes=[GREY])),
    "grey and transparent": (
        all_of(full((10, 0), "LA")),
        Read(shape=(1, SIDE, SIDE), first=255, notes=["4 images are set on white", GREY]),
    ),
    "grey palette": (
        all_of(array(np.repeat(MARK[..., None], 3, 2)).quantize(8)),
        Read(shape=(1, SIDE, SIDE), first=MARK[..., None], notes=[GREY]),
    ),
    "grey and colour": (BASE | {FIRST: array(MARK)}, Read(first=np.repeat(MARK[..., None], 3, 2))),
    "cmyk": (BASE | {"train/a/0.jpg": encoded(full((0, 0, 0, 0), "CMYK"), "JPEG")}, Read(train=3, first=255)),
    "16 bits": (
        all_of(array(DEEP, np.uint16)),
        Read(
            shape=(1, SIDE, SIDE),
            first=np.rint(DEEP / 257)[..., None],
            notes=[GREY, "whole numbers up to 65535 (16 bits) are scaled to 8 bits."],
        ),
    ),
    "12 bits": (
        all_of(array(DEEP // 16, np.uint16)),
        Read(
            shape=(1, SIDE, SIDE),
            first=np.rint((DEEP // 16) / 4095 * 255)[..., None],
            notes=[GREY, "whole numbers up to 4095 (12 bits) are scaled to 8 bits."],
        ),
    ),
    "8 bits in 16": (all_of(array(MARK, np.uint16)), Read(shape=(1, SIDE, SIDE), first=MARK[..., None], notes=[GREY])),
    "16 bits in colour": (
        all_of(png_of([bytes([9, 200] * 3 * SIDE)] * SIDE, 16, 2)),
        Read(first=9, notes=["4 images are of several channels with 16 bits each, read as 8."]),
    ),
    "zeros and ones": (
        all_of(array(MARK > 99, np.uint8)),
        Read(shape=(1, SIDE, SIDE), first=255 * (MARK > 99)[..., None], notes=[GREY, "numbers from 0 to 1 are multiplied by 255"]),
    ),
    "zeros and ones among others": (BASE | {FIRST: array(MARK > 99, np.uint8)}, Read(first=(MARK > 99)[..., None])),
    "floats": (
        {name.replace("png", "tif"): array(MARK / 255, np.float32) for name in BASE},
        Read(shape=(1, SIDE, SIDE), first=MARK[..., None], notes=[GREY, "numbers from 0 to 1 are multiplied by 255 and rounded"]),
    ),
    "floats of any scale": (
        {name.replace("png", "tif"): array(MARK / 2 - 30, np.float32) for name in BASE},
        Read(shape=(1, SIDE, SIDE), first=np.rint((MARK - 20.0) / 180 * 255)[..., None], notes=[GREY, "numbers from -20 to 70 are scaled"]),
    ),
}
FOLDERS |= {
    f"orientation {number}": (
        BASE | {FIRST: encoded(array(np.repeat(MARK[..., None], 3, 2)), "PNG", exif=turned(number).tobytes())},
        Read(first=upright[..., None], notes=["1 image is turned upright, as EXIF orientation says."] * (number > 1)),
    )
    for number, upright in UPRIGHT.items()
}
ENDINGS = {
    "jfif": "JPEG",
    "JPG": "JPEG",
    "jpe": "JPEG",
    "gif": "GIF",
    "webp": "WEBP",
    "tif": "TIFF",
    "TIFF": "TIFF",
    "bmp": "BMP",
    "dib": "DIB",
    "ppm": "PPM",
    "pnm": "PPM",
    "tga": "TGA",
    "pcx": "PCX",
    "jp2": "JPEG2000",
    "avif": "AVIF",
    "ico": "ICO",
    "sgi": "SGI",
}
FOLDERS |= {
    f".{ending}": (
        BASE | {f"train/a/!.{ending}": (full(60, size=(16, 16)), form)} | {name: full(60, size=(16, 16)) for name in BASE},
        Read(train=3, first=60, near=2, shape=(3, 16, 16)),
    )
    for ending, form in ENDINGS.items()
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_read(tmp_path, case):
    files, expected = FOLDERS[case]
    codecs = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
    for name, content in files.items():
        if isinstance(content, tuple):
            image, form = content
            if form in codecs and not features.check(codecs[form]):
                pytest.skip(f"this Pillow has no {form}")
            files = files | {name: encoded(image, form)}
    expected.check(opened(tree(tmp_path / "photos", files)))


REFUSED = {
    "a link up": (BASE | {"train/a/loop": Link("..")}, "train/a/loop is a link to the folder ..: images may count twice"),
    "a link to itself": (BASE | {"train/a/loop": Link(".")}, "is a link to the folder .: images"),
    "a link to another class": (
        BASE | {"train/a/more": Link("../b")},
        "is a link to the folder ../b: images may count twice, or in another",
    ),
    "a link out": (BASE | {"train/a/out": Link("/usr")}, "is a link to the folder /usr"),
    "a class that is a link": (BASE | {"train/c": Link("a"), "test/c": Link("a")}, "train/c is a link to the folder a"),
    "a part that leads up": (parts("test") | {"train": Link("..")}, "train is a link to the folder .., which holds it"),
    "a part twice": (parts("train") | {"test": Link("train")}, "hold the same images. Give training and test images of their own"),
    "a part in a part": (parts("train") | {"train/a/b/x.png": full(1), "test": Link("train/a")}, "hold the same images"),
    "no test": (
        parts("train"),
        "has no folder 'test'; wanted are train/<class>/\\* and test/<class>/\\*, or a folder of classes such as .*photos/train",
    ),
    "no train": (parts("test"), "has no folder 'train'"),
    "no class": ({"a.png": full(1)}, "has no class folders; wanted are"),
    "one class": ({"a/0.png": full(1)}, "has 1 class folders with images"),
    "two of a kind": (parts("train", "val", "valid"), "has val and valid, which are both validation images; keep one"),
    "a class that val lacks": (
        parts("train", "val", "test") | {"train/c/0.png": full(1), "test/c/0.png": full(1)},
        "class folders differ between train and val: c",
    ),
    "an unlabelled test": (
        parts("train") | {"test/0.png": full(1)},
        "test has no class folders; .* one folder of classes, of which a share",
    ),
    "parts below classes": (
        {f"{label}/{part}/0.png": full(1) for label in ("a", "b") for part in ("train", "test")},
        "a has a folder 'test'. Parts stand above classes",
    ),
    "a class of one image": ({"a/0.png": full(1), "b/0.png": full(1), "b/1.png": full(1)}, "a holds one image; wanted are two or more"),
    "a class of heic alone": (
        BASE | {"train/c/0.heic": b"x", "test/c/0.png": full(1)},
        r"train/c holds no images that can be read \(.heic \(1; install pillow-heif\)\); add some",
    ),
    "heic by another name": (
        BASE | {FIRST: b"\0\0\0\x18ftypheic\0\0\0\0"},
        "is not a readable image; it is HEIC; install pillow-heif or convert",
    ),
    "half an image": (BASE | {FIRST: encoded(full(9), "PNG")[:50]}, "0.png is not a readable image; mend or remove it"),
    "no bytes": (BASE | {FIRST: b""}, "0.png is not a readable image"),
    "a program by the name of an image": (BASE | {FIRST: encoded(full(9), "EPS")}, "0.png is not a readable image"),
    "white on nothing": (
        BASE | {FIRST: array(np.dstack([np.full((SIDE, SIDE, 3), 255), ALPHA]))},
        "is all #ffffff on white: what it shows is in its transparency",
    ),
    "8 and 16 bits": (
        parts("train", "test", mode="L") | {FIRST: array(DEEP, np.uint16)},
        "0.png has more than 8 bits a channel and others have 8",
    ),
    "floats that are none": (
        {name.replace("png", "tif"): array(np.full((SIDE, SIDE), np.nan), np.float32) for name in BASE},
        "0.tif holds numbers that are not finite",
    ),
    "parts of two scales": (
        {name.replace("png", "tif"): array(MARK / (255 if "test" in name else 1), np.float32) for name in BASE},
        "numbers of test images go from 0.0784314 to 0.784314, those of all images from 0.0784314 to 200. Scale them alike",
    ),
    "sizes": (BASE | {FIRST: full(1, size=(9, 9))}, "train holds images of 2 sizes; give one with --set data.image_size"),
    "sizes once turned": (
        {name: encoded(full(1, size=(4, 9)), "PNG", exif=turned(6 if name == FIRST else 1).tobytes()) for name in BASE},
        "images of 2 sizes",
    ),
    "other sizes in val": (
        parts("train", "test") | {f"val/{label}/0.png": full(1, size=(9, 9)) for label in "ab"},
        "train and validation images differ in size",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_is_refused(tmp_path, case):
    files, said = REFUSED[case]
    path = tree(tmp_path / "photos", files)
    for read in (lambda: opened(path), lambda: reading.describe(Data(name=str(path)), tmp_path)):
        with pytest.raises(UsageError, match=said):
            read()


def test_images_are_those_of_earlier_versions(tmp_path):
    """Runs are named by them: the order of classes, folders and names, and the layout of arrays."""
    draw = np.random.default_rng(0)
    names = [f"{part}/{label}/{name}.png" for part in ("train", "test") for label in ("b", "a") for name in ("10", "9", "sub/1")]
    files = {name: array(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for name in names}
    assert opened(tree(tmp_path / "photos", files)).fingerprint == "38f768c1"
    pixels, labels = draw.integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8), np.arange(8)[:, None] % 4
    np.savez(tmp_path / "own.npz", train_images=pixels, train_labels=labels, test_images=pixels[:4], test_labels=labels[:4])
    assert opened(tmp_path / "own.npz").fingerprint == "8f02c597"


def test_a_class_that_cannot_be_entered_is_not_left_out(tmp_path, monkeypatch):
    path, scandir = tree(tmp_path / "photos", BASE | {"train/a/locked/1.png": full(1)}), os.scandir

    def refusing(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UsageError, match="train/a/locked cannot be read .Permission denied"):
        opened(path)


def test_links_that_multiply_are_refused_at_once(tmp_path):
    """Followed, two of them in a folder are a million million."""
    loops = {f"train/{label}/{name}": Link("../..") for label in ("a", "b") for name in ("one", "two")}
    with pytest.raises(UsageError, match="is a link to the folder"):
        reading.describe(Data(name=str(tree(tmp_path / "photos", BASE | loops))), tmp_path)


def test_the_split_of_one_folder_is_decided_by_names(tmp_path):
    def value(label, number):
        return 100 * (label == "b") + number

    files = {f"{label}/{number}.png": full(value(label, number)) for label in ("a", "b") for number in range(20)}
    one, other = (opened(tree(tmp_path / name, files)) for name in ("one", "elsewhere"))
    assert one.describe()["digest"] == other.describe()["digest"]
    seen = [part.pixels[:, 0, 0, 0].tolist() for part in (one.train, one.test)]
    assert sorted(seen[0] + seen[1]) == sorted(value(label, number) for label in ("a", "b") for number in range(20))
    assert all((part.pixels[:, 0, 0, 0] >= 100).tolist() == (part.labels == 1).tolist() for part in (one.train, one.test))
    assert np.bincount(one.test.labels).tolist() == [4, 4]
    assert seen[1] == [11, 18, 6, 7, 100, 112, 117, 104], "the same ones in every version: runs are named by them"
    more = opened(tree(tmp_path / "more", files | {"a/20.png": full(50)}))
    assert set(seen[1]) - {50} >= set(more.test.pixels[:, 0, 0, 0].tolist()) - {50}, "none that was trained on is scored"


def test_heic_is_read_where_pillow_heif_is(tmp_path, monkeypatch):
    def register():
        Image.register_extension("PNG", ".heic")

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(register_heif_opener=register))
    folders.formats.cache_clear()
    try:
        Read(train=3).check(opened(tree(tmp_path / "photos", BASE | {"train/a/1.heic": encoded(full(1), "PNG")})))
    finally:
        Image.registered_extensions().pop(".heic", None)
        Image.EXTENSION.pop(".heic", None)
        folders.formats.cache_clear()


def test_deep_images_are_scaled_in_size_too(tmp_path):
    ramp = np.tile(np.arange(16, dtype=np.uint16) * 4000, (16, 1))
    dataset = opened(tree(tmp_path / "photos", all_of(array(ramp, np.uint16))), image_size=8)
    Read(shape=(1, 8, 8), notes=[GREY, "whole numbers up to 60000 (16 bits)"]).check(dataset)
    middle = np.tile(np.rint((np.arange(8) * 8000 + 2000) / 257)[1:-1], (8, 1))
    assert np.abs(dataset.train.pixels[0, :, 1:-1, 0] - middle).max() <= 1


# Arrays


COUNT = 8
DRAW = np.random.default_rng(0)
RGB = DRAW.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
LABELS = np.arange(COUNT) % 4
HOT = np.eye(4)[LABELS]


def keras(x=RGB, y=LABELS, **others):
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y, **others}


def medmnist(**changes):
    arrays = {"train_images": RGB, "train_labels": LABELS[:, None], "test_images": RGB, "test_labels": LABELS[:, None], **changes}
    return {name: each for name, each in arrays.items() if each is not None}


EIGHT = {"train": COUNT, "test": COUNT}
CHANNELS_FIRST = [f"x_{part} is [8, 3, 6, 6] and is read as channels first." for part in ("train", "test")]
ARRAYS = {
    "medmnist": (medmnist(), Read(**EIGHT, first=RGB[0])),
    "medmnist with val": (medmnist(val_images=RGB[:4], val_labels=LABELS[:4]), Read(**EIGHT, validation=4)),
    "keras": (keras(), Read(**EIGHT, first=RGB[0])),
    "keras in capitals": ({name.upper().replace("TRAIN", "train"): each for name, each in keras().items()}, Read(**EIGHT)),
    "keras the other way round": ({f"{name[2:]}_{name[0]}": each for name, each in keras().items()}, Read(**EIGHT)),
    "keras with val alone": (
        {name.replace("test", "val"): each for name, each in keras().items()},
        Read(**EIGHT, notes=["there is no test part; x_val is scored in its place."]),
    ),
    "further arrays": (keras(mean=np.zeros(3), ids=np.arange(COUNT)), Read(**EIGHT)),
    "channels first": (keras(RGB.transpose(0, 3, 1, 2)), Read(**EIGHT, first=RGB[0], notes=CHANNELS_FIRST)),
    "one channel first": (
        keras(RGB[:, None, :, :, 0]),
        Read(**EIGHT, shape=(1, SIDE, SIDE), first=RGB[0, ..., :1], notes=["x_train is [8, 1, 6, 6] and", "x_test is [8, 1, 6, 6] and"]),
    ),
    "no channels": (keras(RGB[..., 0]), Read(**EIGHT, shape=(1, SIDE, SIDE), first=RGB[0, ..., :1])),
    "uint16": (keras(RGB.astype(np.uint16) * 257), Read(**EIGHT, first=RGB[0], notes=["whole numbers up to 65535 (16 bits) are scaled"])),
    "10 bits": (
        keras(np.clip(RGB.astype(np.uint16) * 4, 0, 1023)),
        Read(**EIGHT, first=RGB[0], near=1, notes=["whole numbers up to 1020 (10 bits)"]),
    ),
    "int64 of 8 bits": (keras(RGB.astype(np.int64)), Read(**EIGHT, first=RGB[0])),
    "whole float32": (keras(RGB.astype(np.float32)), Read(**EIGHT, first=RGB[0])),
    "floats to 1": (keras(RGB / 255), Read(**EIGHT, first=RGB[0], notes=["numbers from 0 to 1 are multiplied by 255"])),
    "half precision to 1": (keras((RGB / 255).astype(np.float16)), Read(**EIGHT, first=RGB[0], near=1, notes=["numbers from 0 to 1"])),
    "floats from -1": (keras(RGB / 127.5 - 1), Read(**EIGHT, first=RGB[0], near=1, notes=["numbers from -1 to 1 are scaled to 8 bits"])),
    "standardised": (keras((RGB - 120.0) / 60), Read(**EIGHT, first=RGB[0], near=1, notes=["numbers from -2 to 2.25 are scaled"])),
    "bool": (keras(RGB > 127), Read(**EIGHT, first=255 * (RGB[0] > 127), notes=["numbers from 0 to 1"])),
    "bytes of zeros and ones": (
        keras((RGB > 127).astype(np.uint8)),
        Read(**EIGHT, first=255 * (RGB[0] > 127), notes=["numbers from 0 to 1 are multiplied by 255"]),
    ),
    "zeros and ones in test alone": (keras(x_test=(RGB > 127).astype(np.uint8)), Read(**EIGHT, first=RGB[0])),
    "dark bytes": (keras(RGB // 128 * 2), Read(**EIGHT, first=RGB[0] // 128 * 2)),
    "black": (keras(0 * RGB), Read(**EIGHT, first=0)),
    "either order of axes": (
        keras(RGB[:, :3]),
        Read(
            **EIGHT,
            shape=(3, 3, SIDE),
            first=RGB[0, :3],
            notes=[f"x_{part} is [8, 3, 6, 3], which may be either, and is read as channels last." for part in ("train", "test")],
        ),
    ),
    "constant": (keras(np.full(RGB.shape, 300, np.uint16)), Read(**EIGHT, notes=["whole numbers up to 300 (9 bits)"])),
    "one-hot floats": (keras(y=HOT), Read(**EIGHT)),
    "one-hot bytes": (keras(y=HOT.astype(np.uint8)), Read(**EIGHT)),
    "one-hot bools": (keras(y=HOT > 0), Read(**EIGHT)),
    "float labels": (keras(y=LABELS.astype(np.float32)), Read(**EIGHT)),
    "labels of unsigned bytes": (keras(y=LABELS.astype(np.uint8)[:, None]), Read(**EIGHT)),
    "names of classes": (keras(classes=np.array(list("abcd"))), Read(**EIGHT)),
    "classes that test lacks": (keras(x_test=RGB[:2], y_test=LABELS[:2]), Read(COUNT, 2)),
}
NOT_ARRAYS = {
    "labels from 1": (keras(y=LABELS + 1), "no training image has label 0; labels are 0 to 4 without gaps, as labels - 1 makes them"),
    "a gap": (
        keras(y=np.where(LABELS == 2, 5, LABELS)),
        r"no training image has label 2, 4; .* as numpy.unique\(labels, return_inverse=True\)\[1\]",
    ),
    "a label of test alone": (keras(y_test=np.where(LABELS == 3, 4, LABELS)), "no training image has label 4"),
    "a column of one-hot that is empty": (keras(y=np.eye(5)[LABELS]), "no training image has label 4"),
    "more names than classes": (keras(classes=np.array(list("abcde"))), "classes has 5 names, and labels go from 0 to 3"),
    "fewer names than classes": (keras(classes=np.array(["a"])), "classes has 1 names"),
    "fractions": (keras(y=LABELS + 0.5), r"y_train must be whole numbers from 0, .* 8 images, not fractions: float64 \[8\]"),
    "not a number": (keras(y=np.where(LABELS == 1, np.nan, LABELS)), "not fractions"),
    "shares of classes": (keras(y=0.9 * HOT + 0.025), r"not shares of classes: float64 \[8, 4\]. Take the largest with numpy.argmax"),
    "several classes an image": (keras(y=np.minimum(HOT + HOT[::-1], 1)), r"not several classes or none for an image: float64 \[8, 4\]"),
    "no class": (keras(y=0 * HOT), "not several classes or none for an image"),
    "names as labels": (keras(y=np.array(list("abcdabcd"))), r"not <U1 \[8\]. Number them with numpy.unique"),
    "labels below 0": (keras(y=LABELS - 1), "from 0, one for each of the 8 images, not -1"),
    "too few labels": (keras(y=LABELS[:7]), "own.npz: x_train has 8 images, y_train 7 labels; each image wants one."),
    "too many labels of test": (keras(y_test=np.arange(9) % 4), "x_test has 8 images, y_test 9 labels; each image wants one."),
    "too few one-hot labels": (keras(y=HOT[:7]), "x_train has 8 images, y_train 7 labels"),
    "labels of three axes": (keras(y=HOT[..., None]), r"not float64 \[8, 4, 1\]"),
    "one label": (keras(y=np.array(3)), r"not int64 \[\]"),
    "objects": (keras(y=np.array([{}] * COUNT, dtype=object)), "is not a readable .npz file .*allow_pickle=False.*; write plain arrays"),
    "flat": (keras(RGB.reshape(COUNT, -1)), r"not uint8 \[8, 108\]; give them their height and width with reshape"),
    "images last": (keras(RGB.transpose(1, 2, 3, 0)), r"x_train has 8 channels in its last axis, of \[6, 6, 3, 8\]; wanted are 1, 3 or 4"),
    "videos": (keras(RGB[:, None]), r"not uint8 \[8, 1, 6, 6, 3\]"),
    "five channels": (keras(np.zeros((COUNT, SIDE, SIDE, 5), np.uint8)), "has 5 channels in its last axis"),
    "complex": (keras(RGB + 1j), "must be numbers .* not complex128"),
    "texts": (keras(np.full((COUNT, SIDE, SIDE), "x")), "must be numbers .* not <U1"),
    "no images": (keras(RGB[:0], LABELS[:0]), r"x_train is empty: \[0, 6, 6, 3\]"),
    "bytes and floats": (keras(x_test=RGB / 255), "x_test must be uint8 as x_train is, not float64"),
    "two scales": (
        keras(RGB / 255, x_test=RGB + 0.5),
        "the numbers of x_train go from 0 to 1, those of all images from 0 to 255.5. Scale them alike",
    ),
    "infinite": (keras(np.where(RGB > 9, np.inf, 0.0)), "x_train holds numbers that are not finite"),
    "two sizes": (keras(x_test=RGB[:, :5]), r"x_train are images of \(6, 6, 3\), x_test of \(5, 6, 3\); they must be alike"),
    "two spellings": (keras(**medmnist()), "holds train_images and x_train, which are both train images; keep one"),
    "no labels of val": (keras(x_val=RGB), "lacks y_val; it holds x_train, y_train, x_test, y_test, x_val. Wanted are train_images"),
    "no test part of keras": ({"x_train": RGB, "y_train": LABELS}, "lacks x_test, y_test; it holds x_train, y_train. Put some"),
    "no test part of medmnist": ({"train_images": RGB, "train_labels": LABELS}, "lacks test_images, test_labels;.* only folders are split"),
    "no test part of training": ({"Training_X": RGB, "Training_Y": LABELS}, "lacks test_x, test_y; it holds Training_X, Training_Y. Put"),
    "no train part": ({"x_test": RGB, "y_test": LABELS}, "lacks x_train, y_train; it holds x_test, y_test. Wanted are"),
    "no labels of test": ({"x_train": RGB, "y_train": LABELS, "x_test": RGB}, "lacks y_test"),
    "no parts": ({"images": RGB, "labels": LABELS}, "lacks train_images, train_labels, test_images, test_labels; it holds images, labels."),
    "nothing": ({}, "it holds nothing"),
    "many arrays": ({f"a{number}": RGB for number in range(20)}, "it holds a0, a1, a2, a3, a4, a5, a6, a7, .... Wanted"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_are_read(tmp_path, case):
    arrays, expected = ARRAYS[case]
    np.savez(tmp_path / "own.npz", **arrays)
    dataset = opened(tmp_path / "own.npz")
    expected.check(dataset)
    assert dataset.train.labels.tolist() == LABELS.tolist() and dataset.train.labels.dtype == np.int64
    assert dataset.classes == [str(name) for name in arrays.get("classes", range(4))]


@pytest.mark.parametrize("case", NOT_ARRAYS)
def test_arrays_are_refused(tmp_path, case):
    arrays, said = NOT_ARRAYS[case]
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(UsageError, match=said):
        opened(tmp_path / "own.npz")


def tensors(arrays):
    return {name: torch.from_numpy(np.asarray(each)) for name, each in arrays.items()}


class Evil:
    def __reduce__(self):
        return exec, ("import builtins; builtins.ran = True",)


X, Y = torch.from_numpy(RGB.transpose(0, 3, 1, 2).copy()), torch.from_numpy(LABELS)
TENSORS = {
    "medmnist": (tensors(medmnist()), Read(**EIGHT, first=RGB[0])),
    "keras, channels first": (tensors(keras(RGB.transpose(0, 3, 1, 2))), Read(**EIGHT, first=RGB[0], notes=CHANNELS_FIRST)),
    "pairs": ({"train": (X, Y), "test": [X, Y]}, Read(**EIGHT, first=RGB[0], notes=["train_images is [8, 3", "test_images is [8, 3"])),
    "dictionaries": (
        {part: {"data": X, "targets": Y} for part in ("train", "val", "test")},
        Read(**EIGHT, validation=8, first=RGB[0], notes=["train_images", "val_images", "test_images"]),
    ),
    "floats": (
        {"train": (X / 255, Y), "test": (X / 255, Y)},
        Read(**EIGHT, first=RGB[0], notes=["train_images", "test_images", "numbers from 0 to 1"]),
    ),
    "bfloat16": (
        {"train": (X.bfloat16(), Y), "test": (X.bfloat16(), Y)},
        Read(**EIGHT, first=RGB[0], near=1, notes=["train_im", "test_im"]),
    ),
    "gradients": (
        {"train": ((X / 255).requires_grad_(), Y), "test": (X / 255, Y)},
        Read(**EIGHT, notes=["train_im", "test_im", "numbers"]),
    ),
    "one-hot": ({"train": (X, torch.from_numpy(HOT)), "test": (X, torch.from_numpy(HOT))}, Read(**EIGHT, notes=["train_im", "test_im"])),
    "names": (tensors(keras()) | {"classes": list("abcd"), "epoch": 3}, Read(**EIGHT)),
}
NOT_TENSORS = {
    "code": ({"train": (X, Y), "evil": Evil()}, "holds (an exec|a builtins.exec), which only code can build"),
    "a TensorDataset": (
        {"train": torch.utils.data.TensorDataset(X, Y)},
        "holds a torch.utils.data.dataset.TensorDataset, which only code can build",
    ),
    "a pair alone": ((X, Y), "holds a tuple; wanted is a dictionary of tensors"),
    "a tensor alone": (X, "holds a Tensor; wanted is a dictionary"),
    "weights": (tensors({"conv.weight": RGB}), "lacks train_images, .*; it holds conv.weight"),
    "labels from 1": ({"train": (X, Y + 1), "test": (X, Y + 1)}, "no training image has label 0"),
}


@pytest.mark.parametrize("case", TENSORS)
@pytest.mark.parametrize("ending", ["pt", "pth"])
def test_tensors_are_read(tmp_path, case, ending):
    content, expected = TENSORS[case]
    torch.save(content, tmp_path / f"own.{ending}")
    dataset = opened(tmp_path / f"own.{ending}")
    expected.check(dataset)
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert dataset.classes == list("abcd" if case == "names" else "0123")


@pytest.mark.parametrize("case", NOT_TENSORS)
def test_tensors_are_refused_and_no_code_is_run(tmp_path, case):
    content, said = NOT_TENSORS[case]
    torch.save(content, tmp_path / "own.pt")
    with pytest.raises(UsageError, match=said):
        opened(tmp_path / "own.pt")
    import builtins

    assert not hasattr(builtins, "ran")


# Other files


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("own.pt", b"hello", "is not a readable file of tensors"),
        ("own.pt", b"", "is not a readable file of tensors"),
        ("own.npz", b"", "is not a readable .npz"),
        ("own.npz", b"PK\3\4", "is not a readable .npz"),
        ("photos.zip", b"PK\3\4", "is neither a folder nor an .npz or .pt file. Unpack it"),
        ("own.npy", b"x", "is neither a folder nor an .npz or .pt file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        opened(tmp_path / name)


def test_an_array_by_the_name_of_an_npz_is_refused(tmp_path):
    with open(tmp_path / "own.npz", "wb") as stream:
        np.save(stream, RGB)
    with pytest.raises(UsageError, match="it holds one array and no names"):
        opened(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing.pt", "There is no folder or .pt file at ./nothing.pt"),
        ("./nothing", "There is no folder or .npz file at ./nothing"),
        ("x" * 400, "is no path of a data set .File name too long"),
        ("~nosuchuser/photos", "~nosuchuser/photos is no path of a data set"),
        ("a\0b", r"a\\x00b is no path of a data set .*null"),
        ("", "No data set is named ''"),
        ("https://zenodo.org/x/photos.zip", "--dataset https://zenodo.org/x/photos.zip is an address. Download and unpack it, then give"),
        ("s3://bucket/photos", "is an address"),
        ("HTTP://x/own.npz", "is an address"),
    ],
)
def test_a_path_that_is_none_is_refused(tmp_path, name, said):
    for read in (load, reading.describe):
        with pytest.raises(UsageError, match=said):
            read(Data(name=name), tmp_path)


@pytest.mark.parametrize("name", ["phtos", "./phtos", "Photos", "pictures/phtos"])
def test_a_name_is_looked_for_beside_what_was_typed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "pictures/photos"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UsageError, match="Did you mean 'photos'"):
        load(Data(name=name), tmp_path)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (
            {"validation": 13},
            "data.validation = 13 leaves 3 of the 16 training images of .*, fewer than its 4 classes. Give --set data.val",
        ),
        ({"validation": 15}, "data.validation = 15 leaves 1 of the 16"),
        ({"validation": 16}, "data.validation = 16 leaves nothing of the 16"),
        ({"holdout": 15}, "data.holdout = 15 leaves 1 of the 16"),
        ({"validation": 5, "holdout": 8}, "data.validation = 5 and data.holdout = 8 leave 3 of the 16"),
        (
            {"holdout": 3, "train_on": "holdout"},
            "data.holdout = 3 is fewer than the 4 classes of .*, and is trained on. Give a larger",
        ),
        ({"validation": 12}, ""),
        ({"validation": 4, "holdout": 8}, ""),
    ],
)
def test_what_is_put_aside_leaves_an_image_for_each_class(tmp_path, settings, left):
    np.savez(tmp_path / "own.npz", **keras(np.tile(RGB, (2, 1, 1, 1)), np.tile(LABELS, 2)))
    data = Data(name=str(tmp_path / "own.npz"), **settings)
    if not left:
        assert len(load(data, tmp_path).train) == 4
        return
    with pytest.raises(UsageError, match=left):
        load(data, tmp_path)


# What is said


def test_what_was_left_out_is_said_by_every_command_and_kept(gatebench, tmp_path):
    """Also where the images are not read again."""
    images = {f"{label}/{number}.png": full(20 * number, size=(16, 16)) for label in "ab" for number in range(10)}
    path = tree(tmp_path / "photos", images | {"a/10.heic": b"x"})
    command = ["train", "resnet8", "--dataset", str(path), "--threads", "1", "--epochs", "1", "--set", "training.batch_size=8",
               "--out", str(tmp_path / "out")]  # fmt: skip
    first, again = gatebench(*command), gatebench(*command)
    notes = [SPLIT, "1 of 21 files was left out: .heic (1; install pillow-heif)."]
    lines = [f"gatebench: photos: {note}" for note in notes]
    for done in (first, again):
        assert done.returncode == 0, done.stderr
        assert all(done.stderr.splitlines().count(line) == 1 for line in lines), done.stderr
        assert "The most frequent class is 50.00 % of the test images." in done.stdout
    (run,) = (tmp_path / "out").iterdir()
    assert json.loads((run / "data.json").read_text())["notes"] == notes
    assert json.loads((run / "summary.json").read_text())["majority_pct"] == 50
    timed = gatebench("profile-latency", str(run), "--inputs", "8", "--repeats", "5", "--max-seconds", "1", "--threads", "1")
    assert all(timed.stderr.splitlines().count(line) == 1 for line in lines), timed.stderr
