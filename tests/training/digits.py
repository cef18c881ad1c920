"""Train the bundled pipelines of digits: ``python -m tests.training.digits`` writes their weights.

``--network`` chooses among `digits`, its sibling `digits_gap`, which ends in global average
pooling, and `digits_mlp`, which has dense layers alone. With ``--validate`` one of the training
fifths is left out and measured by instead, and nothing is written: for choosing the settings below.
``--minutes`` stops in time; the next call goes on where it stopped, with the same result as without
a pause.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cnnviz.files.spec import load_spec
from cnnviz.files.weights import save_weights
from tests.training.data import SEED, training
from tests.training.drawn import drawn

BATCH = 64
RATE, DECAY = 4e-3, 1e-2
SMOOTHING = 0.02
AVERAGING = 0.998  # the shipped weights are a moving average over training's steps
FINE = 2  # strokes are bent and thickened at this many times MNIST's resolution


class Plan(NamedTuple):
    """What tells the networks apart: their convolutions, poolings and dense layers."""

    channels: tuple[int, ...]
    pooled: tuple[int, ...]  # convolutions with a max pooling behind them
    averaged: bool  # global average pooling instead of flattening
    dense: tuple[int, ...]
    dropped: float  # of what the dense layers read, in training
    epochs: int = 120


NETWORKS = {
    "digits": Plan((1, 16, 16, 32, 32, 48), (2, 4, 5), False, (48 * 3 * 3, 48, 10), 0.3),
    "digits_gap": Plan((1, 16, 16, 32, 32, 48, 48), (2, 4), True, (48, 10), 0.0, 48),
    "digits_mlp": Plan((1,), (), False, (28 * 28, 64, 10), 0.0),
}


class Network(nn.Module):
    """A pipeline as torch modules of its names, with batch normalisation to train by."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        for number, (inward, outward) in enumerate(itertools.pairwise(plan.channels), 1):
            setattr(self, f"conv{number}", nn.Conv2d(inward, outward, 3, padding=1, bias=False))
            setattr(self, f"norm{number}", nn.BatchNorm2d(outward))
        for number, (inward, outward) in enumerate(itertools.pairwise(plan.dense), 1):
            setattr(self, f"dense{number}", nn.Linear(inward, outward))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of the classes."""
        for number in range(1, len(self.plan.channels)):
            conv, norm = getattr(self, f"conv{number}"), getattr(self, f"norm{number}")
            x = functional.relu(norm(conv(x)))
            if number in self.plan.pooled:
                x = functional.max_pool2d(x, 2)
        x = x.mean((2, 3)) if self.plan.averaged else x.flatten(1)
        x = functional.dropout(x, self.plan.dropped, self.training)
        for number in range(1, len(self.plan.dense)):
            x = getattr(self, f"dense{number}")(x if number == 1 else functional.relu(x))
        return x

    def folded(self) -> dict[str, np.ndarray]:
        """Return the weights with each batch normalisation multiplied into its convolution."""
        weights = {}
        for number in range(1, len(self.plan.channels)):
            conv, norm = getattr(self, f"conv{number}"), getattr(self, f"norm{number}")
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weights[f"conv{number}.weight"] = conv.weight * scale.reshape(-1, 1, 1, 1)
            weights[f"conv{number}.bias"] = norm.bias - norm.running_mean * scale
        for number in range(1, len(self.plan.dense)):
            dense = getattr(self, f"dense{number}")
            weights[f"dense{number}.weight"] = dense.weight
            weights[f"dense{number}.bias"] = dense.bias
        return {name: value.detach().numpy() for name, value in weights.items()}


def augmented(x: torch.Tensor) -> torch.Tensor:
    """Return digits as other people, pens and cameras would have made them."""
    x = thickened(bent(x))
    x = functional.avg_pool2d(x, FINE)
    x = coarsened(x)
    x = x / x.amax((1, 2, 3), keepdim=True).clamp(min=0.1)
    x = x ** torch.exp(uniform(len(x), -0.4, 0.4))  # the soft edges harder or softer
    noise = torch.randn_like(x) * uniform(len(x), -0.1, 0.08).clamp(min=0)
    return (x + noise * (x > 0.05)).clamp(0, 1)  # the paper's own noise is removed in use


def bent(x: torch.Tensor) -> torch.Tensor:
    """Turn, slant, stretch, move and wave each digit; twice as fine, for what comes next."""
    count = len(x)
    angle, slant = uniform(count, -0.3, 0.3), uniform(count, -0.3, 0.3)
    wide, high = uniform(count, 0.85, 1.2), uniform(count, 0.85, 1.2)
    sine, cosine = torch.sin(angle), torch.cos(angle)
    top = torch.cat([cosine * wide, slant - sine, uniform(count, -0.12, 0.12)], 3)
    bottom = torch.cat([sine, cosine * high, uniform(count, -0.12, 0.12)], 3)
    size = 28 * FINE
    grid = functional.affine_grid(
        torch.cat([top, bottom], 2)[:, 0], [count, 1, size, size], align_corners=False
    )
    waves = torch.randn(count, 2, 6, 6) * uniform(count, 0.0, 0.09)
    waves = functional.interpolate(waves, size=(size, size), mode="bicubic", align_corners=True)
    return functional.grid_sample(x, grid + waves.permute(0, 2, 3, 1), align_corners=False)


def thickened(x: torch.Tensor) -> torch.Tensor:
    """Make strokes thicker or thinner: blur, and draw the outline at another level."""
    blurred = functional.avg_pool2d(functional.avg_pool2d(x, 3, 1, 1), 3, 1, 1)
    level = uniform(len(x), 0.15, 0.75)
    steepness = uniform(len(x), 1, 4) / level  # so that paper stays 0
    other = ((blurred - level) * steepness / 2 + 0.5).clamp(0, 1)
    vanished = other.amax((1, 2, 3), keepdim=True) < 0.5
    changed = (uniform(len(x), 0, 1) < 0.7) & ~vanished
    return torch.where(changed, other, x)


def coarsened(x: torch.Tensor) -> torch.Tensor:
    """Let some be taken from a picture of few pixels."""
    pixels = int(torch.randint(9, 20, ()))
    few = functional.interpolate(x, size=(pixels, pixels), mode="bilinear", antialias=True)
    again = functional.interpolate(few, size=(28, 28), mode="bilinear")
    return torch.where(uniform(len(x), 0, 1) < 0.25, again, x)


def uniform(count: int, low: float, high: float) -> torch.Tensor:
    """Draw one number for each digit, to multiply pictures with."""
    return torch.rand(count, 1, 1, 1) * (high - low) + low


class Training:
    """A network, its average and its optimiser, which can pause between epochs."""

    def __init__(self, plan: Plan, path: Path, epochs: int) -> None:
        self.path, self.epochs, self.epoch = path, epochs, 0
        torch.manual_seed(SEED)
        self.network = Network(plan)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING),
            use_buffers=True,
        )
        self.optimizer = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=DECAY)
        if path.exists():
            saved = torch.load(path)
            self.epoch = saved.pop("epoch")
            for name, state in saved.items():
                getattr(self, name).load_state_dict(state)

    def save(self) -> None:
        """Remember everything for the next call."""
        kept = ("network", "average", "optimizer")
        state = {name: getattr(self, name).state_dict() for name in kept}
        torch.save({**state, "epoch": self.epoch}, self.path)

    def run_epoch(self, pictures: torch.Tensor, labels: torch.Tensor) -> float:
        """See every digit once, as nobody wrote it yet; return the mean loss."""
        torch.manual_seed(SEED * 100_000 + self.epoch)
        self.network.train()
        batches = torch.randperm(len(labels)).split(BATCH)
        total = 0.0
        for number, batch in enumerate(batches):
            done = (self.epoch + number / len(batches)) / self.epochs
            for group in self.optimizer.param_groups:  # up quickly, then down along a cosine
                group["lr"] = RATE * min(1, done / 0.05) * (1 + math.cos(math.pi * done)) / 2
            loss = functional.cross_entropy(
                self.network(augmented(pictures[batch])), labels[batch], label_smoothing=SMOOTHING
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.network)
            total += loss.item() * len(batch)
        self.epoch += 1
        return total / len(labels)

    def accuracy(self, pictures: torch.Tensor, labels: torch.Tensor) -> float:
        """Return the share the averaged network gets right."""
        self.average.eval()
        with torch.no_grad():
            return float((self.average(pictures).argmax(1) == labels).float().mean())


def tensors(pictures: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both as torch takes them."""
    return torch.from_numpy(pictures), torch.from_numpy(labels)


def main() -> None:
    """Train, pausing in time; write the weights when all epochs are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="digits")
    parser.add_argument("--validate", action="store_true", help="measure on a training fifth")
    parser.add_argument("--epochs", type=int, help="(default: the plan's)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="pause after so many")
    parser.add_argument("--checkpoint", type=Path, help="(default: NETWORK.checkpoint.pt)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    seen, unseen = training(options.validate)
    pictures = np.concatenate([seen.prepared(), drawn().prepared()])
    labels = np.concatenate([seen.labels, drawn().labels])
    known, unknown = tensors(pictures, labels), tensors(unseen.prepared(), unseen.labels)
    path = options.checkpoint or Path(f"{options.network}.checkpoint.pt")
    epochs = options.epochs or NETWORKS[options.network].epochs
    course = Training(NETWORKS[options.network], path, epochs)
    while course.epoch < epochs and time.monotonic() < end:
        loss = course.run_epoch(*known)
        figure = f", validation {course.accuracy(*unknown):.2%}" if options.validate else ""
        print(f"epoch {course.epoch}: loss {loss:.4f}{figure}", flush=True)
    course.save()
    if course.epoch == epochs and not options.validate:
        course.average.eval()
        save_weights(load_spec(options.network).input.weights, course.average.module.folded())


if __name__ == "__main__":
    main()
