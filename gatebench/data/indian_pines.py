"""Indian Pines: a hyperspectral scene, cut into patches around its labelled pixels.

The public files (Purdue University, 10.4231/R7RX991C; as Matlab arrays at ehu.eus) are a cube [145, 145, 200] and a map of labels
[145, 145] in which 0 is unlabelled.
"""

from pathlib import Path

import numpy as np

from ..errors import GatebenchError, MissingData, UsageError, first_line
from .images import Dataset, Images, channel_statistics

FOLDER, RANDOM = "indian-pines", "indian-pines-random"
"""The data set that is split by squares of the scene, whose name its folder has, and that by single pixels."""
CUBE, LABELS = "Indian_pines_corrected", "Indian_pines_gt"
CLASSES = (
    "alfalfa", "corn-notill", "corn-mintill", "corn", "grass-pasture", "grass-trees", "grass-pasture-mowed", "hay-windrowed", "oats",
    "soybean-notill", "soybean-mintill", "soybean-clean", "wheat", "woods", "buildings-grass-trees-drives", "stone-steel-towers",
)  # fmt: skip
PATCH = 9
"""Pixels to a side."""
TILE = 12
"""Pixels to a side of the squares that go to train or to test as a whole."""
TEST_SHARE, VALIDATION_SHARE = 0.35, 0.2
ATTEMPTS = 300


def load_indian_pines(root: Path, name: str = FOLDER) -> Dataset:
    """Patches int16 [N, 9, 9, bands] around the labelled pixels of `root/indian-pines/`, as .mat or .npy.

    Neighbouring pixels share most of their patches, so a split by pixels tests on what was trained on. By default squares of the scene go
    to train, validation or test as a whole, and no patch holds a pixel that is scored in a later part. What lies between two parts, left
    out of both, may still be seen from both: their patches can share up to four of nine columns. With the name `RANDOM`, pixels are drawn
    one by one, as is usual in the field: as many of each class for each part as the squares give, so that the split alone differs. Raises
    MissingData where the files are not there, UsageError where they are something else.
    """
    folder = root / FOLDER
    cube, labels = _read(folder, CUBE), _read(folder, LABELS)
    if cube.ndim != 3 or labels.shape != cube.shape[:2]:
        shapes = f"the cube is {list(cube.shape)} and the labels {list(labels.shape)}"
        raise UsageError(f"{folder}: {shapes}; wanted are [H, W, bands] and [H, W].")
    if not (_whole(cube, np.iinfo(np.int16).max) and _whole(labels, len(CLASSES)) and labels.max() == len(CLASSES)):
        raise UsageError(
            f"{folder}: wanted are whole numbers of 0 to 32767 and labels of 0 to {len(CLASSES)}, as in the public files, not scaled ones."
        )
    labels = labels.astype(np.int64)
    around = np.pad(cube.astype(np.int16), ((PATCH // 2,) * 2, (PATCH // 2,) * 2, (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(around, (PATCH, PATCH), (0, 1)).transpose(0, 1, 3, 4, 2)

    kept, parts = split_squares(labels)
    if len(kept) < 2:
        raise UsageError(f"{folder}: fewer than two classes lie in several squares of the scene, so there is nothing to tell apart.")

    if name == RANDOM:
        parts = split_pixels(labels, kept, parts)

    def cut(chosen: np.ndarray) -> Images:
        rows, columns = np.nonzero(chosen)
        return Images(np.ascontiguousarray(windows[rows, columns]), np.searchsorted(kept, labels[rows, columns]))

    train, validation, test = map(cut, parts)
    names = [CLASSES[label - 1] for label in kept]
    return Dataset(name, names, train, test, *channel_statistics(train.pixels), validation=validation)


def split_squares(labels: np.ndarray, seed: int = 0) -> tuple[list[int], list[np.ndarray]]:
    """The labels that are kept, and their pixels [H, W] for train, validation and test.

    Of some random choices of squares, the one with the most classes in all three parts. The others are left out: some grow in one
    field only, which one square covers.
    """
    tiles = tuple(-(-size // TILE) for size in labels.shape)
    draw, best = np.random.default_rng(seed), ([], [])
    for _ in range(ATTEMPTS):
        drawn = draw.random(tiles).repeat(TILE, 0).repeat(TILE, 1)[: labels.shape[0], : labels.shape[1]]
        test = (drawn < TEST_SHARE) & (labels > 0)
        validation = (drawn >= TEST_SHARE) & (drawn < TEST_SHARE + VALIDATION_SHARE) & (labels > 0) & ~_reaches(test)
        train = (drawn >= TEST_SHARE + VALIDATION_SHARE) & (labels > 0) & ~_reaches(test | validation)
        parts = [train, validation, test]
        kept = sorted(set.intersection(*({int(label) for label in np.unique(labels[part])} for part in parts)))
        if len(kept) > len(best[0]):
            best = kept, [part & np.isin(labels, kept) for part in parts]
    return best


def split_pixels(labels: np.ndarray, kept: list[int], parts: list[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """Other parts [H, W] with as many pixels of each label that is kept as the given ones have, drawn from all pixels of that label."""
    draw, drawn = np.random.default_rng(seed), [np.zeros_like(part) for part in parts]
    for label in kept:
        where = draw.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum([np.count_nonzero(part & (labels == label)) for part in parts])
        for part, places in zip(drawn, np.split(where, ends), strict=False):
            part.flat[places] = True
    return drawn


def _whole(array: np.ndarray, most: int) -> bool:
    """Whether it holds whole numbers of 0 to `most`, of whatever type, and any at all."""
    if array.size == 0 or array.dtype.kind not in "iuf":
        return False
    return bool((array >= 0).all() and (array <= most).all() and (array == np.floor(array)).all())


def _reaches(part: np.ndarray) -> np.ndarray:
    """Pixels whose patch holds a pixel of `part`."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(part, PATCH)


def _read(folder: Path, name: str) -> np.ndarray:
    """An array from NAME.npy, or from NAME.mat, where it is the only one."""
    from scipy.io import loadmat

    try:
        if (folder / f"{name}.npy").is_file():
            return np.load(folder / f"{name}.npy")
        if (folder / f"{name}.mat").is_file():
            arrays = {key: value for key, value in loadmat(folder / f"{name}.mat").items() if not key.startswith("__")}
            if len(arrays) > 1:
                raise UsageError(f"{folder / name}.mat holds {', '.join(arrays)}; wanted is one array, as in the public file.")
            return arrays.popitem()[1]
    except UsageError:
        raise
    except Exception as error:  # whatever scipy and numpy make of a file that is neither
        raise GatebenchError(f"{folder / name} cannot be read ({first_line(error)}). Get the public file anew.") from None
    raise MissingData(f"indian-pines is not below {folder.parent}. Put {CUBE}.mat and {LABELS}.mat (or .npy) in {folder}.")
