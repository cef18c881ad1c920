"""Small torch networks, one of each family, and what torch makes of every layer."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import nn


class Plain(nn.Sequential):
    """Convolutions, pooling, a classifier: LeNet, VGG."""

    side = 20

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 5, stride=2, bias=False), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2, 1, padding=1), nn.Flatten(), nn.Dropout(), nn.Linear(192, 10),
            nn.Softmax(1),
        )  # fmt: skip


class Residual(nn.Module):
    """Bottlenecks with a shortcut: ResNet."""

    side = 16

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 16, 1, stride=2)
        self.conv3 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.act, self.gap, self.fc = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)

    def forward(self, x):
        x = self.pool(self.act(self.stem(x)))
        x = self.act(x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x))))))
        x = self.act(self.down(x) + self.conv3(x))
        return self.fc(torch.flatten(self.gap(x), 1))


class Dense(nn.Module):
    """Every layer reads all before it: DenseNet."""

    side = 12

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3 + 4 * i) for i in range(3))
        self.squeeze, self.pool = nn.Conv2d(15, 6, 1), nn.AvgPool2d(2)

    def forward(self, x):
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(torch.relu(norm(x)))], 1)
        return self.pool(self.squeeze(x)).mean((2, 3))


class Separable(nn.Module):
    """Depthwise and pointwise, shuffled: MobileNet, ShuffleNet."""

    side = 12

    def __init__(self):
        super().__init__()
        self.expand, self.act = nn.Conv2d(3, 8, 1), nn.ReLU6()
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.project, self.swish = nn.Conv2d(8, 8, 1, groups=2), nn.Hardswish()

    def forward(self, x):
        x = self.swish(self.project(self.act(self.depthwise(self.act(self.expand(x))))))
        _, channels, height, width = x.shape
        shuffled = x.view(-1, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        one, two = shuffled.view(-1, channels, height, width).chunk(2, dim=1)
        return nn.functional.silu(one) * two


class Inception(nn.Module):
    """Branches side by side: GoogLeNet."""

    side = 12

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.wide, self.tall = nn.Conv2d(4, 4, (1, 5), padding=(0, 2)), nn.Conv2d(4, 4, (5, 1))
        self.pool, self.after = nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 4, 1)
        self.norm, self.gelu = nn.InstanceNorm2d(12, affine=True), nn.GELU()

    def forward(self, x):
        tall = self.tall(nn.functional.pad(self.wide(self.three(x)), (0, 0, 2, 2), "reflect"))
        joined = torch.cat([self.one(x), tall, self.after(self.pool(x))], 1)
        return self.gelu(self.norm(joined)) * 2 - 1


class Squeezing(nn.Module):
    """Gates for channels: squeeze-and-excitation."""

    side = 10

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.gap, self.down, self.up = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2), nn.Linear(2, 8)
        self.gate, self.act = nn.Hardsigmoid(), nn.PReLU(8)

    def forward(self, x):
        x = self.act(self.conv(x))
        gate = self.gate(self.up(torch.relu(self.down(self.gap(x).flatten(1)))))
        return (x * gate.view(-1, 8, 1, 1)).clamp(-0.5, 2.0)


class Decoder(nn.Module):
    """Down and up again: autoencoders, U-Net, super-resolution."""

    side = 12

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.nearest = nn.Upsample(scale_factor=2)
        self.shuffle, self.elu = nn.PixelShuffle(2), nn.ELU()

    def forward(self, x):
        small = self.elu(self.down(x))
        joined = torch.cat([self.up(small), self.enlarge(small), self.nearest(small)], 1)
        return torch.sigmoid(self.shuffle(joined))


NETWORKS = (Plain, Residual, Dense, Separable, Inception, Squeezing, Decoder)


def make(kind, seed=0):
    """Build a network with weights and statistics that are not those it starts with."""
    torch.manual_seed(seed)
    network = kind().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias)
            if module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return network


def export(network, image, **options):
    """Return the network as the bytes of an ONNX model."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says its older exporter is old
        torch.onnx.export(
            network, (image,), target, dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # else batch norms melt into convolutions
            **options,
        )  # fmt: skip
    return target.getvalue()


def layer_outputs(network, image):
    """Return what each call of each layer without sublayers gives, in order, by its name."""
    found = []
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: found.append((name, output[0].numpy()))
            )
    with torch.no_grad():
        end = network(image)
    return found, np.asarray(end[0])
