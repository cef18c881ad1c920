"""Where a value comes from: torch's hooks and autograd, naive loops, and sums that must hold."""

import numpy as np
import pytest

from cnnviz.core.heatmap import faithfulness, heatmap, score_of, stretched
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.spec import parse
from tests.oracles import load_torch, noise

NETWORKS = {
    "plain": "conv(4, 3, padding=1) as c1 -> relu -> maxpool(2) -> conv(6, (3, 2)) as c2 "
    "-> relu as last -> gap -> dense(5) as fc -> softmax",
    "residual": "conv(4, 3, padding=1) as c1 -> relu as r -> conv(4, 3, padding=1) as c2 "
    "-> add(r) -> relu as last -> gap -> flatten -> dense(5) as fc -> softmax",
    "depthwise": "conv(4, 3, padding=1) as c1 -> relu6 -> depthwise(1, 3, stride=2, padding=1) "
    "as c2 -> relu6 as last -> gap -> dropout -> conv(5, 1) as fc -> flatten -> log_softmax",
    "concat": "conv(3, 3) as c1 -> relu as a -> conv(4, 1) as c2 -> relu -> concat(a) as last "
    "-> adaptive_avgpool(1) -> flatten -> dense(5) as fc -> softmax",
    "gated": "conv(4, 3) as c1 -> relu as a -> gap -> conv(4, 1) as c2 -> sigmoid as gate "
    "-> from(a) -> mul(gate) as last -> reduce(mean, axes=(1, 2)) -> flatten -> dense(5) as fc "
    "-> softmax",
}
CLASS = 3


def of_torch(name, x, params):
    """Return the score before softmax, the last maps, and the picture, all in float64."""
    torch = load_torch()
    f, p = torch.nn.functional, {key: torch.from_numpy(v).double() for key, v in params.items()}
    picture = torch.from_numpy(x).double()[None].requires_grad_()

    def conv(y, stage, **more):
        return f.conv2d(y, p[f"{stage}.weight"], p[f"{stage}.bias"], **more)

    if name == "plain":
        last = torch.relu(conv(f.max_pool2d(torch.relu(conv(picture, "c1", padding=1)), 2), "c2"))
    elif name == "residual":
        r = torch.relu(conv(picture, "c1", padding=1))
        last = torch.relu(conv(r, "c2", padding=1) + r)
    elif name == "depthwise":
        y = f.relu6(conv(picture, "c1", padding=1))
        last = f.relu6(conv(y, "c2", stride=2, padding=1, groups=4))
    elif name == "concat":
        a = torch.relu(conv(picture, "c1"))
        last = torch.cat([torch.relu(conv(a, "c2")), a], 1)
    else:
        a = torch.relu(conv(picture, "c1"))
        last = a * torch.sigmoid(conv(a.mean((2, 3), keepdim=True), "c2"))
    last.retain_grad()
    weight = p["fc.weight"].reshape(5, -1)
    scores = f.linear(last.mean((2, 3)), weight, p["fc.bias"])
    scores[0, CLASS].backward()
    return scores[0, CLASS], last, picture


def setting(name, seed=0):
    pipeline, x = parse(NETWORKS[name]), noise(seed, 3, 13, 18)
    params = pipeline.params(x.shape, seed=seed)
    rng = np.random.default_rng(seed)
    for key in params:
        if key.endswith("bias"):
            params[key] = rng.normal(0, 0.3, params[key].shape).astype(np.float32)
    return pipeline, x, params


def close(ours, theirs, tolerance=1e-5):
    theirs = np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_maps_are_torchs(name, seed):
    pipeline, x, params = setting(name, seed)
    score, last, picture = of_torch(name, x, params)
    stage = pipeline.nodes[-1].name
    fc = params["fc.weight"].reshape(5, -1)[CLASS]
    cam = heatmap(pipeline, x, stage, (CLASS,), params)
    assert (cam.method, cam.stage) == ("cam", "last")
    close(cam.values[0], np.tensordot(fc, last.detach().numpy()[0], 1))
    assert cam.values[0].mean(dtype=float) + cam.bias == pytest.approx(score.item(), rel=1e-5)
    assert cam.value == pytest.approx(score.item(), rel=1e-5)
    grad = heatmap(pipeline, x, stage, (CLASS,), params, method="gradient")
    close(grad.values, picture.grad[0].numpy())
    times = heatmap(pipeline, x, stage, (CLASS,), params, method="gradient", times_input=True)
    close(times.values, (picture.grad * picture)[0].detach().numpy())
    alpha = last.grad.mean((2, 3), keepdim=True)
    wanted = (alpha * last).sum(1).relu()[0].detach().numpy()
    chosen = heatmap(pipeline, x, stage, (CLASS,), params, method="gradcam", on="last")
    close(chosen.values[0], wanted)
    default = heatmap(pipeline, x, stage, (CLASS,), params, method="gradcam")
    assert default.stage == "last"


def test_occlusion_is_the_naive_loop():
    pipeline, x, params = setting("plain")
    for patch, stride in (((3, 2), (2, 1)), ((5, 7), (5, 7)), ((20, 3), (4, 4)), (None, None)):
        found = heatmap(
            pipeline, x, "fc", (CLASS,), params, method="occlusion", patch=patch, stride=stride
        )
        (rows, columns), (down, across) = found.patches
        assert (rows, columns) == (patch or (1, 1))
        whole, lost = pipeline.computed(x, {"fc"}, params)["fc"][CLASS], {}
        top = 0
        while True:
            left = 0
            while True:
                covered = x.copy()
                for plane in covered:
                    mean = plane.mean(dtype=float)
                    plane[top : top + rows, left : left + columns] = mean
                now = pipeline.computed(covered, {"fc"}, params)["fc"][CLASS]
                lost[top // down, left // across] = whole - now
                if left + columns >= x.shape[2]:
                    break
                left += across
            if top + rows >= x.shape[1]:
                break
            top += down
        expected = np.zeros(np.array(list(lost)).max(axis=0) + 1)
        for at, value in lost.items():
            expected[at] = value
        np.testing.assert_allclose(found.values[0], expected, rtol=1e-4, atol=1e-5)
        over = found.over(x.shape[1:])
        assert over.shape == x.shape[1:]
        assert over[0, 0] == found.values[0, 0, 0]


def test_drawn_weights_draw_another_map():
    pipeline, x, params = setting("plain")
    for method in ("cam", "gradcam", "gradient", "occlusion"):
        one = heatmap(pipeline, x, "fc", (CLASS,), params, method=method).values
        other = heatmap(pipeline, x, "fc", (CLASS,), seed=9, method=method).values
        assert np.abs(one - other).max() > 0.1 * np.abs(one).max()


def test_a_value_of_a_softmax_stands_for_its_score():
    pipeline, x, params = setting("plain")
    assert score_of(pipeline, "softmax1", (2,)) == ("fc", (2,))
    assert score_of(pipeline, "c2", (1, 2, 3)) == ("c2", (1, 2, 3))
    fields = heatmap(pipeline, x, "c1", (1, 5, 6), params, method="gradient")
    rows, columns = np.nonzero(np.abs(fields.values).sum(axis=0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 6, 5, 7)


def test_auto_says_what_it_chose_and_why():
    x = noise(0, 1, 8, 9)
    for text, method, told in (
        ("conv(2) -> relu", "gradient", "relu1 is one place of a map"),
        ("conv(2) as a -> relu -> gap -> dense(3)", "cam", "linear"),
        ("conv(2) as a -> gap -> relu -> dense(3)", "gradcam", "no global average pooling leads"),
        ("flatten -> dense(3)", "gradient", "no stage with rows and columns"),
    ):
        pipeline = parse(text)
        last = pipeline.nodes[-1].name
        cell = (0, 2, 3) if last == "relu1" else (0,)
        found = heatmap(pipeline, x, last, cell)
        assert found.method == method
        assert told in found.reason


def test_what_is_not_exact_is_no_cam():
    """A way round the pooling adds what the map does not tell."""
    x = noise(0, 1, 8, 9)
    beside = parse(
        "flatten -> dense(3) as d -> from(input) -> conv(2) -> gap -> dense(3) -> add(d)"
    )
    with pytest.raises(RequestError, match="cam: no global average pooling"):
        heatmap(beside, x, "add1", (0,), method="cam")
    for text in ("conv(2) -> global_maxpool -> dense(3)", "conv(2) -> avgpool(2) -> flatten"):
        pipeline = parse(text)
        with pytest.raises(RequestError, match="cam: no"):
            heatmap(pipeline, x, pipeline.nodes[-1].name, (0,), method="cam")
    whole = parse("conv(2) -> avgpool((6, 7)) -> dense(3)")
    assert heatmap(whole, x, "dense1", (1,)).method == "cam"


def test_wrong_requests():
    pipeline, x, params = setting("plain")
    with pytest.raises(CnnvizError, match="a patch of 13×18 covers the whole picture of 13×18"):
        heatmap(pipeline, x, "fc", (0,), params, method="occlusion", patch=(13, 18))
    for settings, told in (
        ({"method": "saliency"}, "unknown heatmap"),
        ({"method": "gradcam", "on": "nowhere"}, "unknown stage"),
        ({"method": "gradcam", "on": "fc"}, "reads no rows and columns of fc"),
        ({"method": "gradcam", "on": "softmax1"}, "reads no rows and columns"),
    ):
        with pytest.raises(RequestError, match=told):
            heatmap(pipeline, x, "fc", (0,), params, **settings)
    flat = parse("flatten -> dense(3)")
    with pytest.raises(RequestError, match="gradcam: dense1 reads no stage"):
        heatmap(flat, x, "dense1", (0,), method="gradcam")


def test_curves_begin_and_end_at_the_picture_and_at_nothing():
    pipeline, x, params = setting("plain")
    found = heatmap(pipeline, x, "softmax1", (CLASS,), params)
    deletion, insertion = faithfulness(pipeline, x, "softmax1", (CLASS,), found, params)
    whole = pipeline.forward(x, params)[CLASS]
    mean = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True, dtype=float), x.shape)
    nothing = pipeline.forward(mean.astype(np.float32), params)[CLASS]
    for curve, first, last in ((deletion, whole, nothing), (insertion, nothing, whole)):
        for scores in (curve.scores, curve.random):
            assert scores[0] == pytest.approx(first, rel=1e-5)
            assert scores[-1] == pytest.approx(last, rel=1e-5)
        assert curve.shares[0] == 0
        assert curve.shares[-1] == 1
        assert curve.area((1.0,) * len(curve.shares)) == pytest.approx(1)


def test_a_map_that_knows_beats_a_random_one():
    """The score is the sum of one corner: covering it first takes all at once."""
    pipeline, x = parse("slice(4, axis=1) -> slice(4, axis=2) -> gap"), np.zeros((1, 16, 16))
    x[0, :4, :4] = 1
    x = x.astype(np.float32)
    found = heatmap(pipeline, x, "global_avgpool1", (0, 0, 0), method="gradient")
    deletion, insertion = faithfulness(pipeline, x, "global_avgpool1", (0, 0, 0), found)
    assert deletion.area(deletion.scores) < 0.5 * deletion.area(deletion.random)
    assert insertion.area(insertion.scores) > 1.5 * insertion.area(insertion.random)


def test_stretched_is_bilinear():
    plane = np.float32([[0, 4], [8, 12]])
    assert stretched(plane, (2, 2)) is plane
    assert stretched(plane, (4, 4))[0].tolist() == [0, 1, 3, 4]
