"""The examples run, and show what they claim to show."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.helpers.processes import ROOT, UNREADABLE
from tests.helpers.strategies import PENALTIES

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
RECIPES = [script for script in SCRIPTS if script.stem.startswith("recipe_")]
SMALL = {
    "--steps": ["40"],
    "--seeds": ["2"],
    "--strengths": ["0", "0.002"],
    "--width": ["16"],
    "--layers": ["1"],
    "--rates": ["1"],
}

# Scripts that tests look into, with a budget for which what they claim is true. Tests of
# one script share one run of it.
BUDGETS = {
    "digits": ["--steps", "2000", "--seeds", "3"],
    "weight_decay": ["--steps", "500", "--seeds", "1"],
    "why_prox_adam": [],
}
of_digits, of_lassos, of_decays = map(pytest.mark.xdist_group, ("a", "b", "c"))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "script",
    [script for script in SCRIPTS if script.stem not in BUDGETS and script not in RECIPES],
    ids=lambda script: script.stem,
)
def test_runs_from_the_command_line(script, tmp_path):
    taken = [option for option in SMALL if f'"{option}"' in script.read_text()]
    options = [word for option in taken for word in (option, *SMALL[option])]
    done = subprocess.run(
        [sys.executable, str(script), *options, "--output", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": f"default,{UNREADABLE}",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    check_table(done.stdout)
    check_figures(tmp_path)


@pytest.mark.parametrize("script", RECIPES, ids=lambda script: script.stem)
def test_a_recipe_is_short_and_prints_a_table(script, capsys):
    assert len(script.read_text().splitlines()) < 100
    _module(script.stem).main(["--steps", "40"])
    check_table(capsys.readouterr().out)


def check_table(printed):
    rows = [line for line in printed.splitlines() if len(_numbers(line)) >= 2]
    assert len(rows) >= 2, printed


def check_figures(folder):
    figures = list(folder.glob("*.png"))
    assert figures
    assert all(figure.stat().st_size > 5_000 for figure in figures), figures


def rows_of(name, folder):
    """What the script returns; it has drawn its figures."""
    rows = _module(name).main([*BUDGETS[name], "--output", str(folder)])
    check_figures(folder)
    return rows


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return rows_of("digits", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def lassos(tmp_path_factory):
    return rows_of("why_prox_adam", tmp_path_factory.mktemp("lassos"))


@pytest.fixture(scope="module")
def decays(tmp_path_factory):
    return rows_of("weight_decay", tmp_path_factory.mktemp("decays"))


@pytest.mark.exhaustive
@of_digits
def test_only_a_prox_makes_exact_zeros(digits):
    zeros = {name: row["zeros %"] for name, row in digits.items()}
    assert zeros["no regularization"] == 0
    assert zeros["L1 in the loss"] < 0.05
    assert zeros["L2 decay"] < 0.5
    assert zeros["L1, naive prox"] < 5
    for name in ("L1, prox_adam", "L1, SGD + prox", "elastic net, prox_adam"):
        assert zeros[name] > 50, name
        assert digits[name]["unused px"] > 4, name


@pytest.mark.exhaustive
@of_digits
def test_no_regularizer_costs_accuracy(digits):
    plain = digits["no regularization"]["test acc"]
    assert plain > 0.95
    for name, row in digits.items():
        assert abs(row["test acc"] - plain) < 0.02, name


@pytest.mark.exhaustive
@of_digits
def test_prox_adam_solves_the_problem_of_l1_in_the_loss(digits):
    prox, loss = digits["L1, prox_adam"], digits["L1 in the loss"]
    assert prox["objective"] < 1.1 * loss["objective"]
    assert abs(prox["test acc"] - loss["test acc"]) < 0.015
    assert digits["L1, naive prox"]["objective"] > 2 * loss["objective"]


@pytest.mark.exhaustive
@of_digits
def test_every_kind_of_decay_shrinks_the_weights(digits):
    plain = digits["no regularization"]["mean|w|"]
    for name in ("L2 decay", "decoupled decay", "L1 in the loss", "L1, prox_adam"):
        assert digits[name]["mean|w|"] < 0.8 * plain, name


@of_lassos
def test_only_the_right_metric_reaches_the_lasso(lassos):
    zeros = lassos["scikit-learn Lasso"]["zeros"]
    assert zeros > 0
    for name in ("prox_adam", "prox_sgd"):
        assert abs(lassos[name]["gap"]) < 1e-10, name
        assert lassos[name]["zeros"] == zeros, name
    for name in ("Adam, L1 in the loss", "Adam, the same, cosine"):
        assert 1e-10 < lassos[name]["gap"] < 1e-2, name
        assert lassos[name]["zeros"] == 0, name
    for name in ("Adam, naive prox", "SGD, naive prox"):
        assert lassos[name]["gap"] > 1e-3, name
        assert lassos[name]["zeros"] < zeros, name


@pytest.mark.exhaustive
@of_decays
def test_decays_shrink_as_they_say(decays):
    norms = {name: row["|w| at end"] for name, row in decays.items()}
    taken = {name: row["decay"] for name, row in decays.items()}
    assert taken["AdamW, 4 × peak"] == pytest.approx(4 * taken["AdamW"])
    assert taken["independent, 4 × peak"] == pytest.approx(taken["AdamW"])
    assert norms["AdamW, 4 × peak"] < 0.5 * norms["independent, 4 × peak"]
    assert norms["AdamW"] < 0.95 * norms["corrected"] < norms["cautious"]
    assert norms["constrained"] == pytest.approx(norms["no decay"], rel=0.02)


@pytest.mark.exhaustive
@of_decays
def test_bf16_loses_a_decay_and_compensated_gets_it_back(decays):
    norms = {name: row["|w| at end"] for name, row in decays.items()}
    assert norms["AdamW in bf16"] > 1.2 * norms["AdamW"]
    assert norms["the same, compensated"] == pytest.approx(norms["AdamW"], rel=0.01)


def test_the_gallery_shows_every_penalty():
    gallery = _module("penalty_gallery")
    shown = {type(penalty) for penalty in (*gallery.LINES, *gallery.AREAS, *gallery.POINTS)}
    assert shown == set(PENALTIES)


def _numbers(line):
    return re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w.])", line)


def _module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
