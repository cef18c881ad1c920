"""What the tests of tables share: a network's rows and a run's stages, worked out here by hand."""

import math

import numpy as np

from cnnviz.core.types import Row, Stage, Statistics, Totals


def network(shape, terms):
    """Rows of a chain of conv(O, k, padding), relu, maxpool, flatten, dense(N), softmax."""
    rows, size, jump, field, before, counts = [], shape, 1, 1, "input", {}
    for index, (layer, *settings) in enumerate(terms, 1):
        counts[layer] = counts.get(layer, 0) + 1
        name, given_shape = f"{layer}{counts[layer]}", size
        window = {"kernel_size": None, "stride": None, "padding": None, "dilation": None}
        params = macs = 0
        text = f"{layer}({', '.join(map(str, settings))})" if settings else layer
        if layer in {"conv", "maxpool"}:
            filters, k, pad, step = (*settings, 1) if layer == "conv" else (size[0], 2, 0, 2)
            out = [(n + 2 * pad - k) // step + 1 for n in size[1:]]
            if layer == "conv":
                params = filters * (size[0] * k * k + 1)
                macs = filters * size[0] * k * k * out[0] * out[1]
            size, field = (filters, *out), field + (k - 1) * jump
            jump *= step
            window = {
                "kernel_size": (k, k),
                "stride": (step, step),
                "padding": (pad,) * 4,
                "dilation": (1, 1),
            }
        elif layer == "flatten":
            size = (math.prod(size),)
        elif layer == "dense":
            params, macs = settings[0] * (size[0] + 1), settings[0] * size[0]
            size = (settings[0],)
        spatial = len(size) == 3
        rows.append(
            Row(
                index=index,
                name=name,
                layer=layer,
                text=text,
                settings={"filters": settings[0]} if layer == "conv" else {},
                inputs=(before,),
                input_shape=given_shape,
                output_shape=size,
                **window,
                groups=1 if layer == "conv" else None,
                params=params,
                macs=macs,
                receptive_field=(field, field) if spatial else None,
                effective_stride=(float(jump), float(jump)) if spatial else None,
                effective_padding=(0.0, 0.0, 0.0, 0.0) if spatial else None,
                memory_bytes=4 * math.prod(size),
                weights="drawn" if params else None,
            )
        )
        before = name
    return rows


def totals(rows):
    return Totals(
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        memory_bytes=sum(row.memory_bytes for row in rows),
        peak_bytes=max(4 * math.prod(r.input_shape) + r.memory_bytes for r in rows),
    )


def vgg16():
    terms = []
    for filters, repeats in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        terms += [("conv", filters, 3, 1), ("relu",)] * repeats + [("maxpool",)]
    terms += [("flatten",), ("dense", 4096), ("relu",), ("dense", 4096), ("relu",), ("dense", 1000)]
    return network((3, 224, 224), terms)


def lenet_run():
    rows = network(
        (1, 28, 28),
        [("conv", 6, 5, 2), ("relu",), ("maxpool",), ("flatten",), ("dense", 10), ("softmax",)],
    )
    facts = [
        (-1.93842, 2.04418, -0.0312512, 0.0),
        (0.0, 2.04418, 0.40193, 0.51234),
        (0.0, 2.04418, 0.82125, 0.00001),
        (0.0, 2.04418, 0.82125, 0.00001),
        (-12345.678, 0.5, -1e-7, 0.0),
        (-0.0, 1.0, 0.1, 0.9),
    ]
    return [
        Stage(
            row=row,
            output=np.zeros(row.output_shape, np.float32),
            algorithm="im2col" if row.layer == "conv" else None,
            statistics=Statistics(low, high, mean, zeros, 0),
            seconds=0.00123 * row.index,
        )
        for row, (low, high, mean, zeros) in zip(rows, facts, strict=True)
    ]


ROWS = vgg16()
RUN = lenet_run()
TOTALS = totals(ROWS)
RUN_TOTALS = totals([stage.row for stage in RUN])
