"""Networks without gates. Nothing here imports torch."""

from ..registry import register

for depth in range(8, 111, 6):
    register(f"resnet{depth}", "gatebench.models.static.resnet:ResNet", recipes="resnet", preset={"depth": depth})
for depth in (18, 34):
    register(f"resnet{depth}", "gatebench.models.static.resnet:WideResNet", recipes="wide-resnet", preset={"depth": depth})
for depth in (11, 13):
    register(f"vgg{depth}", "gatebench.models.static.vgg:Vgg", recipes="vgg", preset={"depth": depth})
