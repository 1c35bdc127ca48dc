"""Networks without gates. Nothing here imports torch."""

from ..registry import register

for depth in range(8, 111, 6):
    register(f"resnet{depth}", "gatebench.models.static.resnet:ResNet", recipes="resnet", preset={"depth": depth})
