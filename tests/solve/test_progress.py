"""Bars of paths: each ends at what was to be done."""

import re
import sys
from typing import Any

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.solve import Moments, TargetPaths, multi_task_path
from jaxreg.solve.glm import _batch_path

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X[:, :1] + RNG.normal(size=(60, 3))
COUNTS = RNG.poisson(np.exp(X[:, :1] / 2), size=(60, 3))
PARTS = [Moments.of(X[i::2], Y[i::2, 0]) for i in range(2)]
BARS = {
    "lasso": (lambda **o: jr.lasso_path(X, Y[:, 0], folds=3, **o), "4/4", "fit"),
    "one fit": (lambda **o: jr.lasso_path(X, Y[:, 0], **o), "1/1", "fit"),
    "lassos": (lambda **o: jr.lasso_path(X, Y, folds=3, **o), "12/12", "fit"),
    "moments": (
        lambda **o: jr.lasso_path(sum(PARTS), folds=PARTS, **o),
        "3/3",
        "fit",
    ),
    "poisson": (
        lambda **o: jr.poisson_path(X, COUNTS[:, 0], folds=2, **o),
        "12/12",
        "strength",
    ),
    "many": (lambda **o: jr.poisson_path(X, COUNTS, folds=2, **o), "36/36", "model"),
    "one by one": (
        lambda **o: jr.logistic_path(
            X, Y > 0, penalty=jr.L1(np.array([0, 1, 1, 1.0])), **o
        ),
        "12/12",
        "model",
    ),
    "groups": (
        lambda **o: jr.group_lasso_path(X, Y[:, 0], [0, 0, 1, 1], **o),
        "4/4",
        "strength",
    ),
    "tasks": (lambda **o: multi_task_path(X, Y, **o), "4/4", "strength"),
}


@pytest.mark.parametrize("name", BARS)
def test_a_bar_ends_at_its_total(name, capsys):
    path, total, unit = BARS[name]
    quiet = path(num=4)
    assert not capsys.readouterr().err
    found = path(num=4, progress=True)
    ends = re.findall(r"(\d+/\d+) \[.*?([a-z]+)(?:/s|\])", capsys.readouterr().err)
    assert ends[-1] == (total, unit)
    np.testing.assert_array_equal(found.coefficients, quiet.coefficients)
    first = found[0] if isinstance(found, TargetPaths) else found
    first.coef_at(0.9 * first.strengths[0])
    assert not capsys.readouterr().err


def test_what_is_solved_twice_counts_once(monkeypatch, capsys):
    monkeypatch.setattr(_batch_path, "_STEPS", 1)
    jr.poisson_path(X, COUNTS, num=4, progress=True)
    assert "12/12" in capsys.readouterr().err


def test_without_tqdm_it_says_what_to_install(monkeypatch):
    missing: Any = {"tqdm": None, "tqdm.auto": None}
    for name, value in missing.items():
        monkeypatch.setitem(sys.modules, name, value)
    with pytest.raises(ImportError, match=r'pip install "jaxreg\[progress\]"'):
        jr.lasso_path(X, Y[:, 0], num=4, progress=True)


@pytest.mark.parametrize("value", ["yes", 1, None])
@pytest.mark.parametrize("name", BARS)
def test_it_must_be_a_bool(name, value):
    with pytest.raises(TypeError, match=r"progress must be True or False, got"):
        BARS[name][0](num=4, progress=value)


def test_it_must_be_a_bool_in_sweeps_too():
    for run in (
        lambda **o: jr.sweep(lambda strength: strength, np.ones(2), **o),
        lambda **o: jr.cross_validate(
            lambda strength, fold: strength, np.ones(4), np.ones(2), 2, **o
        ),
    ):
        with pytest.raises(TypeError, match=r"progress must be True or False, got 'yes'"):
            run(progress="yes")
