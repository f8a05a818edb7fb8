"""The networks in PyTorch: ordinary definitions, parameters named as in the public checkpoints. All return unit embeddings."""

import torch
import torch.nn.functional as F
from torch import nn


class C2F2(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 1024)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.normalize(self.fc1(x.flatten(1)), dim=1)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return F.normalize(F.relu(self.fc1(x.flatten(1))), dim=1)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    """torchvision's, without the classifier. On 28x28 images the last map is a single pixel, and averaging it changes nothing."""

    def __init__(self, channels):
        super().__init__()
        # Pixels come in [0, 1]: for color images ImageNet's statistics are the first layer, gray ones stay as they are.
        self.color = channels == 3
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(-1, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for stage in range(1, 5):
            inputs, outputs = widths[stage - 1], widths[stage]
            blocks = nn.Sequential(Block(inputs, outputs, 1 if stage == 1 else 2), Block(outputs, outputs, 1))
            setattr(self, f"layer{stage}", blocks)

    def forward(self, x):
        if self.color:
            x = (x - self.mean) / self.std
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.normalize(x.mean((2, 3)), dim=1)


class Photographs(nn.Module):
    """A network of torchvision or timm, which takes normalized photographs, on pixels from 0 to 1."""

    def __init__(self, net, mean, std):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    def forward(self, x):
        return F.normalize(self.net((x - self.mean) / self.std), dim=1)

    def load_state_dict(self, *args, **kwargs):
        return self.net.load_state_dict(*args, **kwargs)


def of_torchvision(name, head):
    import torchvision

    net = torchvision.models.get_model(name)
    setattr(net, head, nn.Identity())
    return Photographs(net, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def of_timm(name):
    import timm

    return Photographs(timm.create_model(name, num_classes=0), [0.5] * 3, [0.5] * 3)


ARCHITECTURES = {
    "c2f2": C2F2,
    "lenet": LeNet,
    "resnet18-28": lambda: ResNet18(1),
    "resnet18": lambda: ResNet18(3),
    "mobilenet-v2": lambda: of_torchvision("mobilenet_v2", "classifier"),
    "resnet50": lambda: of_torchvision("resnet50", "fc"),
    "vit-small-patch16-224": lambda: of_timm("vit_small_patch16_224"),
}
# Those that take 28x28 gray images; all others take 224x224 photographs.
DIGITS = ("c2f2", "lenet", "resnet18-28")


def network(architecture, weights_file, channels_last=False):
    """In evaluation mode."""
    from safetensors.torch import load_file

    net = ARCHITECTURES[architecture]()
    missing, unknown = net.load_state_dict(load_file(weights_file), strict=False)
    wrong = [name for name in missing if not name.endswith("num_batches_tracked")] + unknown
    if wrong:
        raise SystemExit(f"{weights_file} does not fit {architecture}: {', '.join(wrong)}")
    return (net.to(memory_format=torch.channels_last) if channels_last else net).eval()
