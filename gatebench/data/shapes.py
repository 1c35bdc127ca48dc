"""`shapes`: a procedural image set made from a seed, in which the difficulty of every image is known.

An image shows one closed outline r(angle) = 1 + a cos(m angle), of random place, size, rotation and colour, before a
background. The class is its number of lobes m, its fill (solid, ring) and, past 16 classes, its hue. Four things make it
hard, each in [0, 1]: clutter (other strokes), low contrast, blur and noise; their mean is the image's difficulty.

Shapes: N images, S x S pixels.
"""

import numpy as np

from .images import Images

LOBES = (0, 2, 3, 4, 5, 6, 7, 8)
FILLS = 2
_CHUNK = 500


def make_shapes(count: int, classes: int, image_size: int, seed: int) -> Images:
    """`count` images with balanced labels; the same arguments give the same pixels."""
    random = np.random.default_rng([seed, count, classes, image_size])
    labels = random.permutation(np.arange(count) % classes)
    # One overall level an image, with the four ways of being hard scattered about it, so that all levels are well filled.
    level = random.uniform(0, 1, (count, 1))
    hardness = np.clip(level + random.uniform(-0.25, 0.25, (count, 4)), 0, 1).astype(np.float32)
    pixels = [
        _draw(labels[start : start + _CHUNK], hardness[start : start + _CHUNK], classes, image_size, random)
        for start in range(0, count, _CHUNK)
    ]
    return Images(np.concatenate(pixels), labels.astype(np.int64), hardness.mean(1))


def class_names(classes: int) -> list[str]:
    hues = -(-classes // (len(LOBES) * FILLS))
    names = []
    for label in range(classes):
        lobes, ring, hue = _traits(np.array([label]))
        name = f"{'ring' if ring[0] else 'solid'}-{lobes[0]}"
        names.append(name if hues == 1 else f"{name}-hue{hue[0]}")
    return names


def _traits(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lobes, whether a ring, and hue number of each label."""
    ring = labels % FILLS == 1
    lobes = np.array(LOBES)[labels // FILLS % len(LOBES)]
    return lobes, ring, labels // (FILLS * len(LOBES))


def _draw(labels: np.ndarray, hardness: np.ndarray, classes: int, size: int, random: np.random.Generator) -> np.ndarray:
    """uint8 [N, S, S, 3] for hardness [N, 4] = clutter, contrast, blur, noise."""
    count = len(labels)
    clutter, contrast, blur, noise = hardness.T
    lobes, ring, hue = _traits(labels)
    inside = _outline(lobes, ring, size, random)
    background, foreground = _colours(hue, -(-classes // (len(LOBES) * FILLS)), contrast, random)
    image = background[:, None, None, :] * np.ones((1, size, size, 1))
    image += _strokes(clutter, size, random)[..., None] * random.uniform(-0.25, 0.25, (count, 1, 1, 3))
    image += inside[..., None] * (foreground[:, None, None, :] - image)
    image = _gaussian_blur(image, blur * size / 28)
    image += 0.15 * noise[:, None, None, None] * random.standard_normal(image.shape)
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates in [-1, 1], each [S, S]."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    return np.meshgrid(line, line, indexing="xy")


def _outline(lobes: np.ndarray, ring: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Coverage [N, S, S] in [0, 1] of the outline of each image, its edge one pixel soft."""
    count = len(lobes)
    x, y = _grid(size)
    shift = random.uniform(-0.25, 0.25, (2, count, 1, 1))
    radius = random.uniform(0.45, 0.65, (count, 1, 1))
    rotation = random.uniform(0, 2 * np.pi, (count, 1, 1))
    dx, dy = x - shift[0], y - shift[1]
    lobes = lobes[:, None, None]
    waves = np.where(lobes == 0, 0, 0.3) * np.cos(lobes * (np.arctan2(dy, dx) - rotation))
    distance = np.hypot(dx, dy) - radius * (1 + waves) / 1.15
    distance = np.where(ring[:, None, None], np.abs(distance + 0.12) - 0.12, distance)
    return np.clip(0.5 - distance * size / 2, 0, 1)


def _colours(hue: np.ndarray, hues: int, contrast: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background and foreground [N, 3], at a distance that shrinks as the contrast gets harder."""
    count = len(hue)
    background = random.uniform(0.25, 0.75, (count, 3))
    angle = 2 * np.pi * (hue / hues if hues > 1 else random.uniform(0, 1, count))
    direction = np.stack([np.cos(angle), np.cos(angle - 2 * np.pi / 3), np.cos(angle + 2 * np.pi / 3)], 1)
    if hues == 1:
        direction += random.choice([-1.0, 1.0], (count, 1))
    direction /= np.abs(direction).max(1, keepdims=True)
    return background, np.clip(background + (0.55 - 0.3 * contrast)[:, None] * direction, 0, 1)


def _strokes(clutter: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Coverage [N, S, S] of straight strokes across the image, none to six as the clutter grows."""
    x, y = _grid(size)
    covered = np.zeros((len(clutter), size, size))
    for number in range(6):
        angle = random.uniform(0, np.pi, (len(clutter), 1, 1))
        offset = random.uniform(-0.9, 0.9, (len(clutter), 1, 1))
        distance = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset) - 0.05
        drawn = (6 * clutter > number)[:, None, None]
        covered = np.maximum(covered, drawn * np.clip(0.5 - distance * size / 2, 0, 1))
    return covered


def _gaussian_blur(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Blur of [N, S, S, 3] by sigma [N] pixels, each image by its own, as a product of spectra."""
    size = image.shape[1]
    squared = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None, :] ** 2
    kernel = np.exp(-2 * np.pi**2 * sigma[:, None, None] ** 2 * squared)[..., None]
    return np.fft.irfft2(np.fft.rfft2(image, axes=(1, 2)) * kernel, s=(size, size), axes=(1, 2))
