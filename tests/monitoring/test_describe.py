"""The table of what is regularized, in every framework, and its warnings."""

import html.parser
import io
import re
import sys
from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
import rich.console
from flax import linen as nn, nnx

import jaxreg
from jaxreg import L1, L2, ElasticNet, NonNegative, describe, everything, named, weights

KEY = jax.random.key(0)

# The default mask, framework by framework: the shapes are those of the models, unmade.


class Convolutional(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.Dense(2)(x.reshape(x.shape[0], -1))


def linen_convolutional():
    image = jnp.ones((1, 4, 4, 1))
    return jax.eval_shape(Convolutional().init, KEY, image)["params"]


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
        self.up = nnx.Linear(4, 8, rngs=rngs)


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.tokens = nnx.Embed(11, 4, rngs=rngs)
        self.blocks = nnx.List([Block(rngs)])
        self.norm = nnx.RMSNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 11, use_bias=False, rngs=rngs)


def nnx_transformer():
    return nnx.state(nnx.eval_shape(lambda: Transformer(nnx.Rngs(0))), nnx.Param)


def equinox_mlp():
    return eqx.filter_eval_shape(lambda: eqx.nn.MLP(2, 1, 3, depth=1, key=KEY))


def haiku_network():
    def network(x):
        x = hk.LayerNorm(-1, True, True)(hk.Embed(7, 4)(x))
        return hk.Linear(2)(hk.nets.MLP([3])(x))

    return jax.eval_shape(hk.transform(network).init, KEY, jnp.zeros(2, int))


class Layer(nn.Module):
    @nn.compact
    def __call__(self, carry, _):
        return nn.LayerNorm()(nn.Dense(4)(carry)), None


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
        copies: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        layers = nn.scan(Layer, length=3, **copies)
        return nn.Dense(1)(layers(name="layers")(x, None)[0])


def linen_scan():
    return jax.eval_shape(Stack().init, KEY, jnp.ones((2, 4)))["params"]


TABLES = {
    linen_convolutional: """\
path               shape         dtype    parameters  regularized
-----------------  ------------  -------  ----------  -------------------
BatchNorm_0/bias   (4,)          float32           4  no
BatchNorm_0/scale  (4,)          float32           4  no
Conv_0/bias        (4,)          float32           4  no
Conv_0/kernel      (3, 3, 1, 4)  float32          36  L1(strength=0.0001)
Dense_0/bias       (2,)          float32           2  no
Dense_0/kernel     (64, 2)       float32         128  L1(strength=0.0001)
-----------------  ------------  -------  ----------  -------------------
total                                            178  164 (92.1 %)
""",
    nnx_transformer: """\
path                             shape      dtype    parameters  regularized
-------------------------------  ---------  -------  ----------  -------------------
blocks/0/attention/key/bias      (2, 2)     float32           4  no
blocks/0/attention/key/kernel    (4, 2, 2)  float32          16  L1(strength=0.0001)
blocks/0/attention/out/bias      (4,)       float32           4  no
blocks/0/attention/out/kernel    (2, 2, 4)  float32          16  L1(strength=0.0001)
blocks/0/attention/query/bias    (2, 2)     float32           4  no
blocks/0/attention/query/kernel  (4, 2, 2)  float32          16  L1(strength=0.0001)
blocks/0/attention/value/bias    (2, 2)     float32           4  no
blocks/0/attention/value/kernel  (4, 2, 2)  float32          16  L1(strength=0.0001)
blocks/0/norm/bias               (4,)       float32           4  no
blocks/0/norm/scale              (4,)       float32           4  no
blocks/0/up/bias                 (8,)       float32           8  no
blocks/0/up/kernel               (4, 8)     float32          32  L1(strength=0.0001)
head/kernel                      (4, 11)    float32          44  L1(strength=0.0001)
norm/scale                       (4,)       float32           4  no
tokens/embedding                 (11, 4)    float32          44  L1(strength=0.0001)
-------------------------------  ---------  -------  ----------  -------------------
total                                                       220  184 (83.6 %)
""",
    equinox_mlp: """\
path             shape   dtype    parameters  regularized
---------------  ------  -------  ----------  -------------------
layers/0/weight  (3, 2)  float32           6  L1(strength=0.0001)
layers/0/bias    (3,)    float32           3  no
layers/1/weight  (1, 3)  float32           3  L1(strength=0.0001)
layers/1/bias    (1,)    float32           1  no
---------------  ------  -------  ----------  -------------------
total                                     13  9 (69.2 %)
""",
    haiku_network: """\
path               shape   dtype    parameters  regularized
-----------------  ------  -------  ----------  -------------------
embed/embeddings   (7, 4)  float32          28  L1(strength=0.0001)
layer_norm/offset  (4,)    float32           4  no
layer_norm/scale   (4,)    float32           4  no
linear/b           (2,)    float32           2  no
linear/w           (3, 2)  float32           6  L1(strength=0.0001)
mlp/~/linear_0/b   (3,)    float32           3  no
mlp/~/linear_0/w   (4, 3)  float32          12  L1(strength=0.0001)
-----------------  ------  -------  ----------  -------------------
total                                       59  46 (78.0 %)
""",
    linen_scan: """\
path                      shape      dtype    parameters  regularized
------------------------  ---------  -------  ----------  -------------------
Dense_0/bias              (1,)       float32           1  no
Dense_0/kernel            (4, 1)     float32           4  L1(strength=0.0001)
layers/Dense_0/bias       (3, 4)     float32          12  no
layers/Dense_0/kernel     (3, 4, 4)  float32          48  L1(strength=0.0001)
layers/LayerNorm_0/bias   (3, 4)     float32          12  no
layers/LayerNorm_0/scale  (3, 4)     float32          12  no
------------------------  ---------  -------  ----------  -------------------
total                                                 89  52 (58.4 %)
""",
}


@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_the_table_in_every_framework(make):
    described = describe(L1(1e-4), make())
    text, _, _ = str(described).partition("\nwarning: ")
    assert text + "\n" == TABLES[make]
    has_table = "embed" in TABLES[make]
    assert len(described.warnings) == has_table
    if has_table:
        assert "embeddings are regularized" in described.warnings[0]
        assert not describe(L1(1e-4, mask=weights & ~named("embed")), make()).warnings


# Likely mistakes: each has a warning of its own, and a clean setup has none.

ONES = jnp.ones((4, 3))
PARAMS = {
    "body": {"kernel": ONES, "bias": jnp.ones(3)},
    "head": {"kernel": ONES},
    "norm": {"scale": jnp.ones(3), "bias": jnp.ones(3)},
    "embed": {"embedding": jnp.ones((5, 4))},
}
NARROW = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
KERNELS, BODY, HEAD = named("kernel"), named("body/kernel"), named("head")
FIRST_FIT = {"body": {"kernel": jnp.arange(12.0).reshape(4, 3)}, "head": {"kernel": ONES}}


def show(what: Any, params: Any = PARAMS, **decay: Any):
    return describe(what, params, **decay)


CLEAN = {
    "README": lambda: show(L1(1e-3, mask=KERNELS)),
    "float32": lambda: show(ElasticNet(jnp.float32(1e-6), jnp.float32(1e-2), mask=KERNELS)),
    "mask": lambda: show(KERNELS),
    "a layer off": lambda: show(L1({"body": 1e-4, "head": 0.0}, mask=KERNELS)),
    "per unit": lambda: show(L1(jnp.array([1e-9, 1e-4, 1e-4]), mask=KERNELS)),
    "adaptive": lambda: show(jaxreg.adaptive(L1(1e-3), FIRST_FIT), FIRST_FIT),
    "constraint": lambda: show(NonNegative(mask=KERNELS)),
    "groups": lambda: show(jaxreg.GroupLasso(0.5, mask=KERNELS)),
    "L1 and L2 apart": lambda: show(L1(1e-3, mask=BODY) + L2(1e-3, mask=HEAD)),
    "AdamW": lambda: show(KERNELS, weight_decay=0.1, learning_rate=1e-3),
    "AdamW in bf16": lambda: show(KERNELS, NARROW, weight_decay=0.1, learning_rate=0.1),
    "L1 and AdamW": lambda: show(
        L1(1e-4, mask=KERNELS), weight_decay=0.01, decay_mask=KERNELS
    ),
    "L2 and AdamW apart": lambda: show(
        L2(1e-4, mask=BODY), weight_decay=0.01, decay_mask=HEAD
    ),
    "L2-SP and AdamW": lambda: show(
        L2(1e-4, mask=BODY).toward(PARAMS), weight_decay=0.01, decay_mask=BODY
    ),
    "no parameters": lambda: show(L1(), {}),
    "pairs": lambda: show(L1(1e-4), [(ONES, jnp.ones(3)), (jnp.ones((3, 1)), jnp.ones(1))]),
    "scale and offset": lambda: show(
        L1(1e-4), {"W1": ONES, "b1": jnp.ones(3), "gamma": jnp.ones(3), "beta": jnp.ones(3)}
    ),
    "known vectors": lambda: show(
        L1(1e-4), {"W": ONES, "w2": jnp.ones(3), "coef": jnp.ones(3), "beta": jnp.ones(3)}
    ),
    "a linear model": lambda: show(L1(1e-4), {"slopes": jnp.ones(3), "b": jnp.ones(())}),
    "left out": lambda: show(L1({"W": 1e-4, "": 0.0}), {"W": ONES, "shift": jnp.ones(3)}),
}

MISTAKES = {
    "no leaf": (
        lambda: show(L1(1e-4), {"bias": jnp.ones(3)}),
        "^nothing is regularized: no leaf is chosen",
    ),
    "no leaf for a mask": (
        lambda: show(~everything, weight_decay=0.1, learning_rate=1e-3),
        "^nothing is regularized: no leaf is chosen",
    ),
    "no strength": (
        lambda: show(L1(0.0, mask=BODY) + L2({"head": 0.0}, mask=HEAD)),
        "^nothing is regularized: every strength is 0",
    ),
    "a term without a leaf": (
        lambda: show(L1(1e-4, mask=BODY) + L2(1e-4, mask=BODY & HEAD)),
        r"^L2\(strength=0.0001, .*\) chooses no leaf",
    ),
    "normalisation": (
        lambda: show(L1(1e-4, mask=named("norm"))),
        "^normalisation scales are regularized: 'norm/bias', 'norm/scale'",
    ),
    "biases": (
        lambda: show(named("body"), weight_decay=0.1),
        "^biases are regularized: 'body/bias'",
    ),
    "unknown vectors": (
        lambda: show(L1(1e-4), {"W": ONES, "shift": jnp.ones(3), "tau": jnp.ones(())}),
        r"^vectors that no rule knows .*: 'shift', 'tau'.*named\('shift', 'tau'\)",
    ),
    "an unnamed vector": (
        lambda: show(L1(1e-4), [ONES, jnp.ones((3, 3)), jnp.ones(3)]),
        "^vectors that no rule knows are regularized: '2'",
    ),
    "gamma and beta without a kernel": (
        lambda: show(L1(1e-4), {"W": ONES, "x": {"gamma": ONES, "beta": ONES}}),
        "^vectors that no rule knows are regularized: 'x/beta', 'x/gamma'",
    ),
    "embeddings": (
        lambda: show(L1(1e-4)),
        r"^embeddings .*: 'embed/embedding'.*jaxreg.named\('embed/embedding'\)",
    ),
    "L1 too strong": (
        lambda: show(L1(0.002, mask=KERNELS)),
        "^the strength of L1, 0.002, is above .*1e-06..0.001 .*'body/kernel', 'head",
    ),
    "L1 too weak": (
        lambda: show(ElasticNet(1e-7, 1e-3, mask=BODY)),
        "^the strength of L1, 1e-07, is below .*'body/kernel'",
    ),
    "L2 too strong": (
        lambda: show(L2({"body": 0.02, "head": 0.01}, mask=KERNELS).toward(PARAMS)),
        "^the strength of L2, 0.02, is above the usual range 1e-05..0.01 .*'body/kernel'.$",
    ),
    "L2 too weak": (
        lambda: show(jaxreg.penalties.L0L2(0.1, 1e-6, mask=BODY)),
        "^the strength of L2, 1e-06, is below",
    ),
    "decay too strong": (
        lambda: show(KERNELS, weight_decay=jnp.float32(0.2)),
        "^the weight decay, 0.2, is above the usual range 0.001..0.1",
    ),
    "decay too weak": (
        lambda: show(KERNELS, weight_decay={"body": 0.1, "head": 1e-4}),
        "^the weight decay, 0.0001, is below .*on 'head/kernel'",
    ),
    "equal strengths": (
        lambda: show(ElasticNet(1e-3, 1e-3, mask=BODY)),
        "^L1 and L2 have the same strength, 0.001, on 'body/kernel'",
    ),
    "equal strengths in a sum": (
        lambda: show(L1(1e-3, mask=KERNELS) + L2(1e-3, mask=HEAD)),
        "^L1 and L2 have the same strength, 0.001, on 'head/kernel'",
    ),
    "bf16": (
        lambda: show(KERNELS, NARROW, weight_decay=0.1, learning_rate=1e-3),
        "^weight decay is below the resolution .*'body/kernel', 'head/kernel'.*_kahan_",
    ),
    "L2 and decay": (
        lambda: show(L2(1e-4, mask=KERNELS), weight_decay=0.1, decay_mask=HEAD),
        "^decoupled weight decay and L2 meet on 'head/kernel'",
    ),
    "elastic net and decay": (
        lambda: show(ElasticNet(1e-4, 1e-3, mask=BODY), weight_decay=0.1, decay_mask=BODY),
        "^decoupled weight decay and L2 meet on 'body/kernel'",
    ),
}


@pytest.mark.parametrize("make", CLEAN.values(), ids=CLEAN)
def test_a_clean_setup_has_no_warning(make):
    assert make().warnings == ()
    assert "warning" not in str(make())


@pytest.mark.parametrize(("make", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_has_its_own_warning(make, text):
    (warning,) = make().warnings
    assert re.search(text, warning)


@pytest.mark.parametrize(
    ("path", "is_table"),
    [
        ("wte/weight", True),
        ("pos_embedding", True),
        ("token_embed/w", True),
        ("patch_embed/kernel", False),
        ("embed/0/kernel", False),
        ("member/weight", False),
    ],
)
def test_tables_of_embeddings_are_known_by_their_names(path, is_table):
    tree: Any = ONES
    for name in reversed(path.split("/")):
        tree = {name: tree}
    described = show(L1(1e-4), tree)
    assert ["embeddings" in warning for warning in described.warnings] == [True] * is_table


def test_tables_of_embeddings_are_known_by_their_class():
    table = eqx.nn.Embedding(3, 2, key=KEY)
    (warning,) = show(L1(1e-4), {"tokens": table}).warnings
    assert "embeddings are regularized: 'tokens/weight'" in warning


def test_mistakes_come_together():
    described = show(ElasticNet(0.1, 0.1, mask=everything), NARROW, weight_decay=1.0)
    assert len(described.warnings) == 8
    assert str(described).count("\nwarning: ") == 8


# What it says of decay.


def test_a_decay_is_in_the_table():
    by_penalty = show(L1(1e-4, mask=BODY), weight_decay={"head": 0.1}, decay_mask=HEAD)
    rows = {row.path: row.regularized for row in by_penalty.rows if row.regularized}
    assert rows == {"body/kernel": "L1(strength=0.0001)", "head/kernel": "weight decay 0.1"}
    both = show(L1(1e-4), weight_decay=0.1)
    assert both.rows[0].regularized == ""
    assert both.rows[1].regularized == "L1(strength=0.0001), weight decay 0.1"
    assert both.regularized == 44
    per_unit = show(BODY, weight_decay=jnp.array([0.1, 0.2, 0.3]))
    assert per_unit.rows[1].regularized == "weight decay 0.1..0.3"
    assert show(BODY).rows[1].regularized == "yes"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: show(L1(), learning_rate=0.1), ValueError, "learning_rate must go with"),
        (lambda: show(L1(), decay_mask=BODY), ValueError, "decay_mask must go with"),
        (
            lambda: show(BODY, weight_decay=0.1, decay_mask=BODY),
            ValueError,
            "decay_mask must go with",
        ),
        (lambda: show(BODY, weight_decay=-0.1), ValueError, "weight_decay must be non-neg"),
        (
            lambda: show(BODY, weight_decay=lambda count: 0.1),
            TypeError,
            "weight_decay must",
        ),
        (
            lambda: show(BODY, weight_decay=0.1, learning_rate=float("nan")),
            ValueError,
            "learning_rate must be non-negative",
        ),
        (lambda: show(named("kernle"), weight_decay=0.1), ValueError, "matches none of"),
        (lambda: show(L1(mask=named("kernle"))), ValueError, "matches none of"),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# The same table elsewhere.

STRANGE = {"<b>&": {"kernel": ONES}, "bias": jnp.ones(3)}


class Cells(html.parser.HTMLParser):
    """The texts of the cells of a table, and all else that is said."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.notes = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        (self.cells if self.tags[-1] in ("td", "th") else self.notes).append(data)


def test_a_notebook_shows_the_table_as_html():
    described = show(L1(0.1), STRANGE)
    shown = Cells(described._repr_html_())
    assert set(shown.tags) == {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "p"}
    assert shown.cells == [
        *("path", "shape", "dtype", "parameters", "regularized"),
        *("<b>&/kernel", "(4, 3)", "float32", "12", "L1(strength=0.1)"),
        *("bias", "(3,)", "float32", "3", "no"),
        *("total", "15", "12 (80.0 %)"),
    ]
    (note,) = shown.notes
    assert note.endswith(described.warnings[0])


def test_rich_prints_the_table():
    described = show(L1(0.1), {"[b]": {"kernel": ONES}, "bias": jnp.ones(3)})
    output = io.StringIO()
    rich.console.Console(file=output, width=100).print(described)
    lines = output.getvalue().splitlines()
    rows = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in lines if line[0] in "│┃"]
    assert rows == [
        ["path", "shape", "dtype", "parameters", "regularized"],
        ["[b]/kernel", "(4, 3)", "float32", "12", "L1(strength=0.1)"],
        ["bias", "(3,)", "float32", "3", "no"],
        ["total", "", "", "15", "12 (80.0 %)"],
    ]
    assert described.warnings[0] in " ".join(map(str.strip, lines))


def test_it_needs_no_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    assert "L1(strength=0.1)" in str(show(L1(0.1)))


def test_an_embedding_of_strength_zero_is_no_mistake():
    params = {"embedding": jnp.ones((5, 2)), "kernel": jnp.ones((2, 2))}
    free = describe(L2({"embedding": 0.0, "kernel": 1e-3}), params)
    held = describe(L2({"embedding": 1e-3, "kernel": 1e-3}), params)
    assert [len(free.warnings), len(held.warnings)] == [0, 1]


def test_a_table_says_over_how_many_steps_weights_remember():
    params = {"kernel": jnp.ones((4, 2)), "head": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    decays = {"kernel": 0.1, "": 0.0}
    shown = describe(weights, params, weight_decay=decays, learning_rate=1e-3, steps=40_000)
    rows = {row.path: row for row in shown.rows}
    assert rows["kernel"].decay == pytest.approx(1e-4)
    assert rows["kernel"].timescale == pytest.approx(10_000)
    assert rows["kernel"].coverage == pytest.approx(0.25)
    assert rows["head"].decay == 0
    assert rows["bias"].decay is None
    lines = {line.split()[0]: line for line in repr(shown).splitlines()}
    assert lines["kernel"].split()[-4:] == ["1.0e-04", "10,000", "25", "%"]
    assert "timescale" in shown._repr_html_()
    without = describe(weights, params, weight_decay=0.1)
    assert "timescale" not in repr(without)
    with pytest.raises(ValueError, match="steps must go with a learning_rate"):
        describe(weights, params, weight_decay=0.1, steps=10)
