"""Published architectures in plain torch, as torchvision builds them and names their parts."""

from __future__ import annotations

from tests.oracles import load_torch


def batchnorms_too(network, seed):
    """Draw every parameter and running statistic, so that each one matters; evaluation mode."""
    torch = load_torch()
    torch.manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith("weight") else value.normal_(0, 0.1)
    return network.eval()


def resnet18():
    """He et al. 2016, table 1: two basic blocks a layer."""
    torch = load_torch()
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inward, outward, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outward)
            self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outward)
            self.downsample = nn.Sequential()
            if stride > 1:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward)
                )

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
            self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
            self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
            self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
            self.fc = nn.Linear(512, 1000)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return torch.softmax(self.fc(x.mean((2, 3))), 1)

    return Network()


def squeezenet1_1():
    """Iandola et al. 2016, version 1.1."""
    torch = load_torch()
    nn = torch.nn

    class Fire(nn.Module):
        def __init__(self, inward, squeezed, expanded):
            super().__init__()
            self.squeeze = nn.Conv2d(inward, squeezed, 1)
            self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
            self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

        def forward(self, x):
            x = torch.relu(self.squeeze(x))
            return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
                Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True),
                Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True),
                Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
            )  # fmt: skip
            self.classifier = nn.Sequential(
                nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
            )

        def forward(self, x):
            return torch.softmax(self.classifier(self.features(x)).flatten(1), 1)

    return Network()


def alexnet():
    """Krizhevsky 2014."""
    nn = load_torch().nn
    return _classifier(
        nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        ),
        nn.Sequential(
            nn.AdaptiveAvgPool2d(6), nn.Flatten()
        ),
        nn.Sequential(
            nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(),
            nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
        ),
    )  # fmt: skip


def vgg16():
    """Simonyan & Zisserman 2015, configuration D."""
    nn = load_torch().nn
    features, inward = [], 3
    for outward in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if not outward:
            features.append(nn.MaxPool2d(2))
            continue
        features += [nn.Conv2d(inward, outward, 3, padding=1), nn.ReLU()]
        inward = outward
    return _classifier(
        nn.Sequential(*features),
        nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Flatten()),
        nn.Sequential(
            nn.Linear(25_088, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000),
        ),
    )  # fmt: skip


def mobilenet_v2():
    """Sandler et al. 2018, table 2: inverted residuals."""
    nn = load_torch().nn

    def convolved(inward, outward, size, stride=1, groups=1):
        padding = size // 2
        convolution = nn.Conv2d(inward, outward, size, stride, padding, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outward), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, inward, outward, stride, times):
            super().__init__()
            wide = inward * times
            self.adds = stride == 1 and inward == outward
            self.conv = nn.Sequential(
                *([convolved(inward, wide, 1)] if times > 1 else []),
                convolved(wide, wide, 3, stride, wide),
                nn.Conv2d(wide, outward, 1, bias=False),
                nn.BatchNorm2d(outward),
            )

        def forward(self, x):
            return x + self.conv(x) if self.adds else self.conv(x)

    features, inward = [convolved(3, 32, 3, 2)], 32
    for times, outward, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for index in range(count):
            features.append(Block(inward, outward, 1 if index else stride, times))
            inward = outward
    return _classifier(
        nn.Sequential(*features, convolved(320, 1280, 1)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Dropout(), nn.Linear(1280, 1000)),
    )


def _classifier(features, avgpool, classifier):
    """Return a network of three parts, with a softmax at its end."""
    torch = load_torch()
    nn = torch.nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.avgpool, self.classifier = features, avgpool, classifier

        def forward(self, x):
            return torch.softmax(self.classifier(self.avgpool(self.features(x))), 1)

    return Network()
