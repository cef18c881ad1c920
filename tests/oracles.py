"""Slow, plain, independent answers that the tests compare cnnviz with."""

import warnings

import numpy as np
import pytest

NP_PAD = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


def load_torch():
    """Import torch without its warnings, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        torch.set_num_threads(1)
        return torch


def load_safetensors():
    """Import the reference implementation of .safetensors, or skip the test."""
    return pytest.importorskip("safetensors.numpy")


def pad_maps(x, pads, mode="zeros", value=0.0):
    """Pad (C, H, W) by (top, left, bottom, right) with np.pad."""
    top, left, bottom, right = pads
    options = {"constant_values": value} if NP_PAD[mode] == "constant" else {}
    return np.pad(x, ((0, 0), (top, bottom), (left, right)), NP_PAD[mode], **options)


def axis_starts(length, extent, stride, before=0, after=0, *, ceil_mode=False):
    """List the first cell of every window of one axis, in image coordinates, by walking."""
    starts, start = [], -before
    while start + extent <= length + after:
        starts.append(start)
        start += stride
    hangs_over = starts and starts[-1] + extent < length + after
    if ceil_mode and hangs_over and start < length:
        starts.append(start)
    return starts


def correlate_oracle(
    x, weight, *, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1,
    mode="zeros", value=0.0, bias=None,
):  # fmt: skip
    """Correlate in float64, tap by tap; also return the sum of the terms' magnitudes."""
    padded = pad_maps(x.astype(np.float64), pads, mode, value)
    filters, depth, kh, kw = weight.shape
    rows, columns = (
        len(
            axis_starts(padded.shape[1 + a], dilation[a] * (weight.shape[2 + a] - 1) + 1, stride[a])
        )
        for a in (0, 1)
    )
    each = padded.reshape(groups, depth, *padded.shape[1:])
    weight = weight.astype(np.float64).reshape(groups, filters // groups, depth, kh, kw)
    total = np.zeros((groups, filters // groups, rows, columns))
    magnitude = np.zeros_like(total)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            cells = each[
                :,
                :,
                top : top + (rows - 1) * stride[0] + 1 : stride[0],
                left : left + (columns - 1) * stride[1] + 1 : stride[1],
            ]
            taps = weight[..., i, j]
            total += np.einsum("gkc,gcyx->gkyx", taps, cells)
            magnitude += np.einsum("gkc,gcyx->gkyx", np.abs(taps), np.abs(cells))
    total, magnitude = (a.reshape(filters, rows, columns) for a in (total, magnitude))
    if bias is not None:
        total += bias.astype(np.float64)[:, None, None]
        magnitude += np.abs(bias.astype(np.float64))[:, None, None]
    return total, magnitude


def pool_oracle(  # noqa: C901 - every rule of pooling, spelled out
    x, mode, *, kernel_size, stride, pads=(0, 0, 0, 0), dilation=(1, 1), ceil_mode=False,
    padding_mode="zeros", value=0.0, count_include_pad=False, norm=2.0,
):  # fmt: skip
    """Pool in float64 by visiting every cell of every window."""
    size = x.shape[1:]
    extent = [dilation[a] * (kernel_size[a] - 1) + 1 for a in (0, 1)]
    rows, columns = (
        axis_starts(size[a], extent[a], stride[a], pads[a], pads[a + 2], ceil_mode=ceil_mode)
        for a in (0, 1)
    )
    padded = pad_maps(x.astype(np.float64), pads, padding_mode, value)
    real = pad_maps(np.ones((1, *size)), pads)[0].astype(bool)
    output = np.empty((x.shape[0], len(rows), len(columns)))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            cells, inside = [], 0
            for i in range(kernel_size[0]):
                for j in range(kernel_size[1]):
                    y = row + i * dilation[0] + pads[0]
                    z = column + j * dilation[1] + pads[1]
                    if y >= padded.shape[1] or z >= padded.shape[2]:
                        continue  # beyond the padding: never counts
                    if real[y, z] or padding_mode != "zeros":
                        cells.append(padded[:, y, z])
                    if real[y, z] or padding_mode != "zeros" or count_include_pad:
                        inside += 1
            cells = np.array(cells)
            match mode:
                case "max":
                    output[:, r, c] = cells.max(0)
                case "min":
                    output[:, r, c] = cells.min(0)
                case "avg":
                    output[:, r, c] = cells.sum(0) / inside
                case "lp":
                    output[:, r, c] = (np.abs(cells) ** norm).sum(0) ** (1 / norm)
    return output


def adaptive_oracle(x, output_size, mode):
    """Pool to a size as PyTorch documents it: bins from floor(i·L/n) to ceil((i+1)·L/n)."""
    _, height, width = x.shape
    output = np.empty((x.shape[0], *output_size))
    for r in range(output_size[0]):
        for c in range(output_size[1]):
            top, left = r * height // output_size[0], c * width // output_size[1]
            bottom = -(-(r + 1) * height // output_size[0])
            right = -(-(c + 1) * width // output_size[1])
            cells = x[:, top:bottom, left:right].astype(np.float64)
            output[:, r, c] = {"avg": np.mean, "max": np.max, "min": np.min}[mode](cells, (1, 2))
    return output


def covered_by(bad, kernel_size, stride, pads, dilation, *, ceil_mode=False):
    """Tell which windows hold a cell where `bad` (H, W) is true, zero padding."""
    starts = [
        axis_starts(
            bad.shape[a],
            dilation[a] * (kernel_size[a] - 1) + 1,
            stride[a],
            pads[a],
            pads[a + 2],
            ceil_mode=ceil_mode,
        )
        for a in (0, 1)
    ]
    out = np.zeros((len(starts[0]), len(starts[1])), bool)
    for r, row in enumerate(starts[0]):
        for c, column in enumerate(starts[1]):
            for i in range(kernel_size[0]):
                for j in range(kernel_size[1]):
                    y, x = row + i * dilation[0], column + j * dilation[1]
                    if 0 <= y < bad.shape[0] and 0 <= x < bad.shape[1] and bad[y, x]:
                        out[r, c] = True
    return out


def noise(seed, *shape):
    """Draw float32 values around 0 of various sizes."""
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
