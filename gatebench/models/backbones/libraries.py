"""Networks of timm and torchvision by name, with random weights.

Shapes: N images, C channels, H x W pixels.
"""

import warnings

from torch import nn

from ...errors import UsageError, nearest

LIBRARIES = ("timm", "torchvision")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of what torchvision's networks were trained on."""
Built = tuple[nn.Module, tuple[tuple[float, ...], tuple[float, ...]], int]
"""A network, mean and standard deviation of the RGB images that it was made for, and their side in pixels."""


def classifier(library: str, name: str, num_classes: int, channels: int) -> Built:
    """A library's network from images [N, C, H, W] to logits [N, num_classes].

    Raises UsageError for a name that the library does not have, or not as a classifier.
    """
    if library == "timm":
        return _timm(name, channels, num_classes=num_classes)
    from torchvision import models

    return _torchvision(name, channels, models.list_models(module=models), num_classes=num_classes)


def any_network(library: str, name: str, num_classes: int | None, channels: int) -> Built:
    """As `classifier`, but segmentation, detection and so on too; without `num_classes` with the library's own head."""
    head = {} if num_classes is None else {"num_classes": num_classes}
    if library == "timm":
        return _timm(name, channels, **head)
    from torchvision import models

    parts = (models.segmentation, models.detection)
    if any(name in models.list_models(module=part) for part in parts):
        head["weights_backbone"] = None  # which would be downloaded
    return _torchvision(name, channels, models.list_models(), **head)


def _timm(name: str, channels: int, **head) -> Built:
    import timm

    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    built = timm.create_model(name, in_chans=channels, **head)
    about = built.pretrained_cfg
    return built, (about["mean"], about["std"]), about["input_size"][-1]


def _torchvision(name: str, channels: int, names: list[str], **head) -> Built:
    from torchvision import models

    if name not in names:
        raise _unknown("torchvision", name, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how two networks will be initialised in another release
        built = models.get_model(name, **head)
    if channels != 3:
        _replace_first_convolution(built, channels)
    return built, IMAGENET, 299 if name == "inception_v3" else 224


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Let a network take images of so many channels."""
    name, old = next((name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d))
    sizes = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "bias": old.bias is not None}
    network.set_submodule(name, nn.Conv2d(channels, old.out_channels, **sizes))


def _unknown(library: str, name: str, names: list[str]) -> UsageError:
    """The error for a name that a library does not have, with the nearest one, and how to list its hundreds."""
    models = "timm" if library == "timm" else "torchvision.models"
    command = f'python -c "import {models} as m; print(*m.list_models())"'
    return UsageError(f"{library} has no network named {name!r}.{nearest(name, names)} {command} lists all {len(names):,}.")
