"""Models of many kinds: the same function, and the parameters that a count says."""

import re

import jax
import numpy as np
import pytest

import jaxreg as jr
from jaxreg._tree import assembled, walk
from tests.compaction.models import MAKERS, model

# For each model what is set to zero, by pattern, axis and indices, and how many parameters
# are left, counted by hand.
ZEROS = {
    # 6, 5, 8 and 4 channels become 4, 4, 5 and 4.
    "linen_resnet": (
        [
            (r"(Conv|BatchNorm)_[02]/(kernel|bias|scale)", -1, [0, 1]),
            (r"(Conv|BatchNorm)_1/(kernel|bias|scale)", -1, [0]),
            (r"(Conv|BatchNorm)_3/(kernel|bias|scale)", -1, [0, 1, 2]),
        ],
        (9 * 2 * 4 + 4)
        + 2 * (9 * 4 * 4 + 4)
        + (9 * 4 * 5 + 5)
        + (4 * 4 + 4)
        + (9 * 5 * 4 + 4)
        + 4 * (4 + 4 + 4 + 5 + 4 + 4)
        + (4 * 3 + 3),
    ),
    # One of four groups of two channels goes; of the last convolutions, units.
    "linen_mobile": (
        [
            (r"Conv_[0123]/(?!kernel)|Conv_[023]/kernel|GroupNorm", -1, [0, 1]),
            (r"Conv_4", -1, [0]),
            (r"Dense_1", -1, [0, 1, 2]),
        ],
        (2 * 6 + 6)
        + (9 * 6 + 6)
        + 6 * 6
        + 2 * 6
        + (9 * 2 * 6 + 6)
        + (9 * 6 * 5 + 5)
        + (2 * 2 * 5 * 4 + 4)
        + (4 * 3 + 3),
    ),
    # Of 4 + 3 + 3 + 3 channels 3 + 2 + 3 + 3 stay, in the norms of all later layers too.
    "linen_densenet": (
        [
            (r"Conv_0", -1, [1]),
            (r"Conv_1", -1, [0]),
            (r"BatchNorm_0/(scale|bias)", -1, [1]),
            (r"BatchNorm_[12]/(scale|bias)", -1, [1, 4]),
        ],
        (9 * 2 * 3 + 3)
        + (9 * 3 * 2 + 2)
        + (9 * 5 * 3 + 3)
        + (9 * 8 * 3 + 3)
        + 4 * (3 + 5 + 8)
        + (11 * 3 + 3),
    ),
    # 4, 6, 5 and 4 channels become 3, 4, 4 and 2.
    "linen_unet": (
        [
            (r"Conv(Transpose)?_0", -1, [0]),
            (r"Conv_[12]", -1, [0, 1]),
        ],
        (9 * 2 * 3 + 3) + (9 * 3 * 4 + 4) + (4 * 4 * 4 + 4) + (9 * 7 * 2 + 2) + (2 * 2 + 2),
    ),
    # 6 and 5 units become 5 and 3.
    "linen_recurrent": (
        [(r"LSTM", -1, [0]), (r"GRU", -1, [0, 1])],
        4 * (4 * 5 + 5 * 5 + 5) + 3 * (5 * 3 + 3) + 3 * (3 * 3) + 3 + (3 * 2 + 2),
    ),
    # One of 8 channels of the stream, one of 2 heads of the first block (by its values
    # alone), 5 of 10 units of the second.
    "nnx_transformer": (
        [
            (r"embed|position|norm|out|down", -1, [0]),
            (r"0/qkv", -1, [20, 21, 22, 23]),
            (r"1/up", -1, [0, 1, 2, 3, 4]),
        ],
        7 * (11 + 32)
        + 2 * 3 * 7
        + 2 * 7
        + (7 * 12 + 12)
        + (4 * 7 + 7)
        + (7 * 10 + 10)
        + (10 * 7 + 7)
        + (7 * 24 + 24)
        + (8 * 7 + 7)
        + (7 * 5 + 5)
        + (5 * 7 + 7),
    ),
    # One of two groups of heads; of the second layer 4 of 10 units, and one of the 3
    # numbers by which queries and keys are compared.
    "llama": (
        [(r"0/v", 1, [1]), (r"1/gate", 1, [0, 1, 2, 3]), (r"1/q", 2, [0])],
        2 * 11 * 8
        + 4 * 8
        + 8 * 3 * (2 + 1 + 1 + 2)
        + 3 * 8 * 10
        + 8 * 2 * (4 + 2)
        + 8 * 3 * (2 + 4)
        + 3 * 8 * 6,
    ),
    # One of two groups of heads in all layers. One of 10 units: two layers do not compute
    # it, and one does not read it.
    "scanned": (
        [
            (r"layers/v", 2, [1]),
            (r"layers/gate", (0, 2), [(0, 0), (1, 0)]),
            (r"layers/down", (0, 1), [(2, 0)]),
        ],
        11 * 8 + 3 * (2 * 8 + 8 * 3 * (2 + 1 + 1 + 2) + 3 * 8 * 9),
    ),
    # One of 4 experts, which the router can still choose, and one of 5 units of all.
    "experts": ([(r"down", 0, [1]), (r"up", 2, [0])], 6 * 4 + 2 * 3 * 6 * 4 + 6 * 2),
    "soft_experts": ([(r"down", 0, [1]), (r"up", 2, [0])], 6 * 4 + 2 * 3 * 6 * 4 + 6 * 2),
    # 7 and 7 units become 5 and 6; one of the first is constant, one of the last unread.
    "equinox_mlp": (
        [(r"0/weight", 0, [0, 1]), (r"0/bias", 0, [0]), (r"2/weight", 1, [0])],
        (5 * 5 + 5) + (5 * 6 + 6) + (6 * 3 + 3),
    ),
    "equinox_cnn": (
        [(r"0/(weight|bias)", 0, [0]), (r"3/(weight|bias)", 0, [1])],
        (4 * 2 * 9 + 4) + (3 * 4 * 4 + 3) + (3 * 3 * 4 + 3),
    ),
    "haiku_mlp": (
        [(r"linear_0/w", 1, [0, 1]), (r"linear_0/b", 0, [0]), (r"linear_2/w", 0, [0])],
        2 * 5 + (5 * 4 + 4) + (4 * 6 + 6) + (6 * 3 + 3),
    ),
}


def with_zeros(params, zeros):
    """Parameters with slices set to zero, by patterns of their paths."""
    tree = list(walk(params))
    values = [None if leaf.value is None else np.array(leaf.value) for leaf in tree]
    for pattern, axis, indices in zeros:
        found = False
        for leaf, value in zip(tree, values, strict=True):
            if value is None or not re.search(pattern, leaf.path):
                continue
            found = True
            if isinstance(axis, tuple):
                moved = np.moveaxis(value, axis, range(len(axis)))
                for index in indices:
                    moved[index] = 0
            else:
                np.moveaxis(value, axis, 0)[indices] = 0
        assert found, pattern
    return assembled(
        tree, params, [v if v is None else jax.numpy.asarray(v) for v in values]
    )


def assert_same(fn, params, small, inputs):
    full = np.asarray(jax.jit(fn)(params, *inputs))
    ours = np.asarray(small(small.params, *inputs))
    np.testing.assert_allclose(ours, full, rtol=0, atol=1e-5 * np.abs(full).max())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", MAKERS)
def test_what_can_go_goes_and_the_function_stays(name):
    fn, params, inputs = model(name)
    zeros, left = ZEROS[name]
    params = with_zeros(params, zeros)
    small = jr.compact(fn, params, *inputs(2))
    assert small.parameters[1] == left
    assert not small.notes
    assert_same(fn, params, small, inputs(5))  # another batch, and other lengths
