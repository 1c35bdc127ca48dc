"""Indian Pines: a hyperspectral scene, cut into patches around its labelled pixels.

The public files (Purdue University, 10.4231/R7RX991C; as Matlab arrays at ehu.eus) are a cube [145, 145, 200] and a map of labels
[145, 145] in which 0 is unlabelled.
"""

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.ndimage import maximum_filter

from ..errors import GatebenchError, MissingData, UsageError, first_line
from .images import Dataset, Images, channel_statistics

CUBE, LABELS = "Indian_pines_corrected", "Indian_pines_gt"
CLASSES = (
    "alfalfa", "corn-notill", "corn-mintill", "corn", "grass-pasture", "grass-trees", "grass-pasture-mowed", "hay-windrowed", "oats",
    "soybean-notill", "soybean-mintill", "soybean-clean", "wheat", "woods", "buildings-grass-trees-drives", "stone-steel-towers",
)  # fmt: skip
PATCH = 9
"""Pixels to a side."""
TILE = 12
"""Pixels to a side of the squares that go to train or to test as a whole."""
TEST_SHARE = 0.4
ATTEMPTS = 200


def load_indian_pines(root: Path) -> Dataset:
    """Patches int16 [N, 9, 9, bands] around the labelled pixels of `root/indian-pines/`, as .mat or .npy.

    Neighbouring pixels share most of their patches, so a split by pixels would test on what was trained on. Here squares of the scene
    go to train or test, and no training patch holds a test pixel. Raises MissingData where the files are not there.
    """
    folder = root / "indian-pines"
    cube, labels = _read(folder, CUBE), _read(folder, LABELS)
    if cube.ndim != 3 or labels.shape != cube.shape[:2]:
        found = f"the cube is {list(cube.shape)} and the labels {list(labels.shape)}"
        raise UsageError(f"{folder}: {found}; wanted are [H, W, bands] and [H, W].")
    if cube.min() < 0 or cube.max() > np.iinfo(np.int16).max or labels.max() != len(CLASSES):
        raise UsageError(f"{folder}: wanted are values of 0 to 32767 and labels of 0 to {len(CLASSES)}, as in the public files.")
    is_test = split_squares(labels)
    reaches_test = maximum_filter(is_test & (labels > 0), PATCH)
    around = np.pad(cube.astype(np.int16), ((PATCH // 2,) * 2, (PATCH // 2,) * 2, (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(around, (PATCH, PATCH), (0, 1)).transpose(0, 1, 3, 4, 2)

    def cut(chosen: np.ndarray) -> Images:
        rows, columns = np.nonzero(chosen & (labels > 0))
        return Images(np.ascontiguousarray(windows[rows, columns]), labels[rows, columns].astype(np.int64) - 1)

    train, test = cut(~is_test & ~reaches_test), cut(is_test)
    return Dataset("indian-pines", list(CLASSES), train, test, *channel_statistics(train.pixels))


def split_squares(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which pixels are for test, boolean [H, W]: the first of some random choices of squares that leaves every class in both."""
    tiles = tuple(-(-size // TILE) for size in labels.shape)
    found = np.unique(labels[labels > 0])
    draw = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        chosen = draw.random(tiles) < TEST_SHARE
        is_test = chosen.repeat(TILE, 0).repeat(TILE, 1)[: labels.shape[0], : labels.shape[1]]
        kept = ~is_test & ~maximum_filter(is_test & (labels > 0), PATCH)
        if all((kept & (labels == label)).any() and (is_test & (labels == label)).any() for label in found):
            return is_test
    raise UsageError("No split of the scene into squares leaves every class in train and test.")


def _read(folder: Path, name: str) -> np.ndarray:
    """An array from NAME.npy, or from NAME.mat, where it is the only one."""
    try:
        if (folder / f"{name}.npy").is_file():
            return np.load(folder / f"{name}.npy")
        if (folder / f"{name}.mat").is_file():
            (array,) = (value for key, value in loadmat(folder / f"{name}.mat").items() if not key.startswith("__"))
            return array
    except Exception as error:  # whatever scipy and numpy make of a file that is neither
        raise GatebenchError(f"{folder / name} cannot be read ({first_line(error)}). Get the public file anew.") from None
    raise MissingData(f"indian-pines is not below {folder.parent}. Put {CUBE}.mat and {LABELS}.mat (or .npy) in {folder}.")
