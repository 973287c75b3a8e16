"""`edgekit tune`: real trainings of a tiny model, in real studies."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processor_time
import pytest
from conftest import COLOURS, colour_picture, write_picture

optuna = pytest.importorskip("optuna")

from click.testing import CliRunner  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from tune_support import TINY, register  # noqa: E402

from edgekit.cli.progress import ProgressBars  # noqa: E402
from edgekit.cli.tune import command as tune_command  # noqa: E402
from edgekit.errors import (  # noqa: E402
    EXIT_INTERRUPTED,
    MissingError,
    RuntimeFailure,
    UnreadableError,
    UsageError,
)
from edgekit.training import zoo  # noqa: E402
from edgekit.training.hooks import Hooks  # noqa: E402
from edgekit.training.recipe import Recipe  # noqa: E402
from edgekit.training.tuning import Request, Tuning, tune  # noqa: E402
from edgekit.training.tuning import space as spaces  # noqa: E402
from edgekit.training.tuning.space import SPACE, Candidate, Space  # noqa: E402

_SCRIPT = Path(__file__).with_name("tune_support.py")
#: A training takes a second with these.
_QUICK = {"epochs": 2, "feature_epochs": 2, "views": 2, "rate": 0.01, "batch": 8}
#: And half of that with these: no fine-tuning.
_QUICKER = {"epochs": 0, "feature_epochs": 2, "views": 1, "batch": 8}
_OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in _QUICKER.items()]
_MODEL = ["--model", TINY.name, "--weights", "none"]


#: Lines about a trial: what it tries, and how it ended.
_ENDS = re.compile(r"Trial (\d+)( \(.*\))?: \d")
_BEGINS = re.compile(r"Trial (\d+)( \(.*\))?: (?!\d)")


@pytest.fixture(autouse=True)
def tiny(keras3: Any) -> Iterator[None]:
    """The tiny model is in the zoo for the time of a test."""
    register()
    yield
    zoo.CATALOGUE.pop(TINY.name, None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of each colour."""
    return _write_photos(tmp_path_factory.mktemp("tune") / "photos")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests: they share pictures and features."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other fixtures say, the cache is that of this module."""
    monkeypatch.setenv("EDGEKIT_CACHE", str(cache))


@pytest.fixture(scope="module")
def six(photos: Path, cache: Path, keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search of six trials: what it gave, what it said, and its file."""
    register()
    path = tmp_path_factory.mktemp("six") / "six.tune.db"
    said: list[str] = []
    graphs: list[int] = []

    def say(line: str) -> None:
        said.append(line)
        if _BEGINS.match(line):
            gc.collect()  # what earlier tests left is not this search's
            graphs.append(sum(type(o).__name__ == "FuncGraph" for o in gc.get_objects()))

    request = _request(photos, path, trials=6)
    with processor_time.apart("edgekit tune"):
        tuning = tune(request, Recipe(**_QUICK), _QUICK, Hooks(say=say))
    return tuning, said, path, graphs


# --- the search


def test_default_is_tried_first_and_the_best_is_never_worse(six: Any) -> None:
    tuning, said, *_ = six
    assert tuning.trials[0].name == "default"
    assert tuning.default == tuning.trials[0]
    assert tuning.default.recipe == Recipe(**_QUICK).to_dict()
    assert sum(tuning.counts.values()) == 6
    assert tuning.counts["complete"] >= 1
    complete = [t for t in tuning.trials if t.state == "complete"]
    assert tuning.best.accuracy == max(t.accuracy for t in complete) >= tuning.default.accuracy
    assert said[0] == "Trial 0 (default): the default recipe"
    assert len([line for line in said if _BEGINS.match(line)]) == 6
    assert len([line for line in said if _ENDS.match(line)]) == 6


def test_a_trial_leaves_no_graph_behind(six: Any) -> None:
    """A graph holds 100 MiB of a real model, and a search has hundreds of trials."""
    graphs = six[3]
    assert len(graphs) == 6
    assert max(graphs) == graphs[0]


def test_what_is_tried_comes_from_the_space(six: Any) -> None:
    tuning, *_ = six
    names = {p.name for p in SPACE} - set(_QUICK)
    for trial in tuning.trials:
        assert set(trial.settings) == names
        assert {k: trial.recipe[k] for k in _QUICK} == _QUICK  # what is given is kept
    assert len({json.dumps(t.recipe, sort_keys=True) for t in tuning.trials}) == 6


@pytest.mark.slow
def test_line_gives_the_accuracy_of_the_trial_again(six: Any, tmp_path: Path) -> None:
    """In a process of its own, where the trial ran after others in one."""
    tuning, *_ = six
    words = shlex.split(tuning.command)
    assert words[:2] == ["edgekit", "train"]
    words[words.index("-o") + 1] = str(tmp_path / "again.keras")
    run = subprocess.run(
        [sys.executable, str(_SCRIPT), *words[1:], "--json"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    again = json.loads(run.stdout)
    assert again["results"]["val"]["top1"] == tuning.best.accuracy
    best = again["history"][again["kept"]]
    assert best["val_loss"] == pytest.approx(tuning.best.val_loss, rel=1e-4)
    assert again["recipe"] == tuning.best.recipe


def test_summary_compares_best_and_default_and_tells_what_mattered(six: Any) -> None:
    tuning, *_ = six
    text = str(tuning)
    for part in ("Best", "Default", "Gain", "importance", tuning.command, "all of --trials 6"):
        assert part in text
    assert f"{100 * tuning.best.accuracy:.2f} % (" in text
    assert tuning.importances is not None
    assert set(tuning.importances) == set(tuning.base)
    assert sum(tuning.importances.values()) == pytest.approx(1)
    shares = [int(s) for s in re.findall(r"(\d+) %  ", text.partition("importance")[2])]
    assert len(shares) == len(tuning.base)
    assert shares == sorted(shares, reverse=True)
    assert "Best" in tuning._repr_html_()
    json.dumps(tuning.to_dict())


@pytest.mark.slow
def test_trials_that_fall_behind_are_ended(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopeless = Candidate(
        "hopeless", {"unfreeze": "1/4", "average": 0.99}, "", {"rate": 1 / 4, "feature_rate": 1 / 5}
    )
    monkeypatch.setattr(spaces, "CANDIDATES", (hopeless,))
    recipe = Recipe(**{**_QUICK, "epochs": 4})
    request = _request(photos, tmp_path / "p.tune.db", trials=2)
    tuning = tune(request, recipe, set(_QUICK) - {"rate", "feature_rate"})
    slow = tuning.trials[1]
    assert slow.name == "hopeless"
    assert slow.state == "pruned"
    assert slow.epochs < 4
    assert slow.accuracy is not None
    assert tuning.best == tuning.default
    assert "nothing better than the default" in str(tuning)


@pytest.mark.slow
def test_same_command_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "CANDIDATES", ())  # so that the second is proposed by TPE
    path = tmp_path / "study.tune.db"
    whole = _tuned(photos, tmp_path / "whole.tune.db", trials=2)
    first = _tuned(photos, path, trials=1)
    assert len(first.trials) == 1
    further = _tuned(photos, path, trials=2)
    assert further.trials[0] == first.trials[0]
    # Stopped or not, the search is the same.
    assert whole.trials[1].settings != whole.trials[0].settings
    assert [t.settings for t in further.trials] == [t.settings for t in whole.trials]
    assert [t.accuracy for t in further.trials] == [t.accuracy for t in whole.trials]
    said: list[str] = []
    request = _request(photos, path, trials=2)
    again = tune(request, Recipe(**_QUICKER), _QUICKER, Hooks(say=said.append))
    assert again.trials == further.trials
    assert not said


@pytest.mark.slow
def test_choice_of_models_is_searched(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(TINY, name="tiny_too")
    monkeypatch.setitem(zoo.CATALOGUE, other.name, other)
    request = dataclasses.replace(
        _request(photos, tmp_path / "m.tune.db", trials=2), models=(TINY.name, other.name)
    )
    tuning = tune(request, Recipe(**_QUICKER), _QUICKER)
    assert [t.model for t in tuning.trials] == [TINY.name, other.name]
    assert [t.name for t in tuning.trials] == ["default", "default tiny_too"]
    assert f"--model {tuning.best.model}" in tuning.command


# --- when it ends


@pytest.mark.slow
def test_time_budget_ends_the_running_trial_and_loses_nothing(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.tune.db"
    long = {**_QUICKER, "feature_epochs": 10_000}
    began = time.monotonic()
    request = dataclasses.replace(_request(photos, path), budget=5.0)
    with pytest.raises(RuntimeFailure, match="time budget is spent"):
        tune(request, Recipe(**long), long)
    assert time.monotonic() - began < 60  # ten thousand epochs take longer
    first, *queue = _study(path).get_trials()
    assert first.state is TrialState.FAIL
    assert first.user_attrs["cut"]
    again = queue[-1]  # and is begun anew when the search goes on
    assert again.state is TrialState.WAITING
    assert (again.user_attrs["name"], again.params) == ("default", first.params)


def test_no_trial_is_begun_that_can_not_end(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.tune.db"
    _tuned(photos, path, trials=1)
    with sqlite3.connect(path) as database:  # as if it had taken a quarter of an hour
        query = "UPDATE trial_user_attributes SET value_json = '900.0' WHERE key = 'seconds'"
        assert database.execute(query).rowcount == 1
    tuning = tune(
        dataclasses.replace(_request(photos, path), budget=300.0), Recipe(**_QUICKER), _QUICKER
    )
    assert len(tuning.trials) == 1
    assert "no further trial fits into the" in tuning.stopped


@pytest.mark.slow
def test_ctrl_c_prints_the_best_so_far_and_the_trial_is_done_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.tune.db"

    class Impatient(ProgressBars):
        def __call__(self, stage: str, done: int, total: int) -> None:
            if stage.startswith("Trial 1"):
                raise KeyboardInterrupt

    monkeypatch.setattr("edgekit.cli.tune.ProgressBars", Impatient)
    run = CliRunner().invoke(
        tune_command,
        [str(photos), "-o", str(path), "--trials", "3", *_MODEL, *_OPTIONS],
        standalone_mode=False,
    )
    assert run.return_value == EXIT_INTERRUPTED, run.output
    assert "1 complete, 1 cut; interrupted; the same command goes on" in run.stdout
    assert "Train it again" in run.stdout
    # It waits behind the other candidates, so go on until all of them are done.
    queue = Space.of(Recipe(**_QUICKER), (TINY.name,), frozenset(_QUICKER)).queue()
    further = _tuned(photos, path, trials=len(queue))
    _, cut, *others = further.trials
    assert cut.state == "cut"
    redone = [t for t in others if t.name == cut.name]
    assert [t.state for t in redone] in (["complete"], ["pruned"])
    assert redone[0].settings == cut.settings


@pytest.mark.slow
def test_a_failed_trial_is_counted_and_the_search_goes_on(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.tune.db"
    calls = []

    def fail(row: Any) -> None:
        calls.append(row)
        if len(calls) == 1:
            raise MemoryError

    tuning = tune(
        _request(photos, path, trials=2), Recipe(**_QUICKER), _QUICKER, Hooks(on_epoch=fail)
    )
    assert tuning.trials[0].state == "failed"
    assert tuning.counts["failed"] == 1
    assert tuning.best == tuning.trials[1]
    assert tuning.default is None
    assert "trial 0 (default) failed: tiny: out of memory" in str(tuning)


def test_if_all_trials_fail_the_first_reason_is_said(photos: Path, tmp_path: Path) -> None:

    def fail(row: Any) -> None:
        raise MemoryError

    said: list[str] = []
    with pytest.raises(RuntimeFailure, match="1 trial failed, the first with: tiny: out of mem"):
        tune(
            _request(photos, tmp_path / "n.tune.db", trials=1),
            Recipe(**_QUICKER),
            _QUICKER,
            Hooks(on_epoch=fail, say=said.append),
        )
    assert any("Trial 0 (default) failed" in line for line in said)


# --- what is refused


def test_another_data_set_is_refused(photos: Path, six: Any, tmp_path: Path) -> None:
    other = _write_photos(tmp_path / "photos", per_class=11)
    with pytest.raises(UsageError, match=r"data was .*training pictures was 30, is 2"):
        tune(_request(other, six[2], trials=9), Recipe(**_QUICK), _QUICK)


def test_another_recipe_is_refused(photos: Path, six: Any) -> None:
    changed = {**_QUICK, "epochs": 3}
    with pytest.raises(UsageError, match=r"begun with something else: epochs was 2, is 3$"):
        tune(_request(photos, six[2], trials=9), Recipe(**changed), changed)


def test_a_study_of_something_else_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.tune.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    monkeypatch.setattr("edgekit.training.tuning.storage._SETTING_UP", 0.5)
    with pytest.raises(UsageError, match="'s' is there already, and is none of edgekit"):
        _tuned(photos, path, trials=1)


def test_a_file_that_is_no_database_is_refused(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("These are my notes, which nobody may lose.\n" * 100)
    with pytest.raises(UnreadableError, match="is no database of this Optuna"):
        _tuned(photos, path, trials=1)
    assert path.read_text().startswith("These are my notes")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("photos.db", UsageError, "no URL of a database"),
        ("nosuch://host/name", UsageError, "no such kind of database"),
        ("oracle+cx_oracle://me:secret@host/name", MissingError, "package for this database"),
    ],
)
def test_other_storages_are_explained(
    photos: Path, url: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as info:
        tune(Request(photos, storage=url, models=(TINY.name,), weights=None, trials=1))
    assert "secret" not in str(info.value)


def test_bad_requests_are_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    request = _request(photos, tmp_path / "r.tune.db", trials=1)
    everything = {p.name for p in SPACE}
    for changes, fixed, message in (
        ({"models": ("nothing",)}, (), "no model named"),
        ({"models": (TINY.name, TINY.name)}, (), "named twice"),
        ({"storage": "sqlite:///x.db"}, (), "two are named"),
        ({"trials": 0}, (), "no search without one"),
        ({}, everything, "nothing to search"),
        ({"models": (TINY.name, "vgg16"), "weights": Path("w.h5")}, (), "can't hold the weights"),
        ({"output": tmp_path / "no" / "r.tune.db"}, (), "its folder doesn't exist"),
    ):
        with pytest.raises(UsageError, match=message):
            tune(dataclasses.replace(request, **changes), Recipe(), fixed)
    with pytest.raises(UnreadableError):
        (tmp_path / "one" / "red").mkdir(parents=True)
        write_picture(tmp_path / "one" / "red" / "a.png", colour_picture("red", 1))
        tune(dataclasses.replace(request, data=tmp_path / "one"))


def test_optuna_is_asked_for_where_it_is_missing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "optuna" else find(name)
    )
    with pytest.raises(MissingError, match="optuna") as info:
        _tuned(photos, tmp_path / "o.tune.db", trials=1)
    assert "pip install" in str(info.value.hint)


# --- the space


@pytest.mark.parametrize("sgd", [False, True])
def test_every_parameter_gives_a_recipe_that_train_takes(sgd: bool) -> None:
    base = Recipe(optimizer="sgd", rate=0.01) if sgd else Recipe()
    space = Space.of(base, ("a", "b"), frozenset())
    assert space.names == ("model", *(p.name for p in SPACE))
    assert space.recipe(space.start()) == base
    for parameter in space.parameters:
        assert parameter.reason.endswith(".")
        domain = space.domain(parameter.name)
        own = spaces.value_in(base, parameter.name)
        if space.is_number(parameter.name):
            assert domain[0] < own < domain[1]
        else:
            assert own in domain
        recipes = [space.recipe({parameter.name: value}) for value in domain]
        assert len({str(r) for r in recipes}) == len(domain)
        assert [Recipe.from_dict(r.to_dict()) for r in recipes] == recipes


def test_candidates_are_all_in_the_space_and_all_different() -> None:
    space = Space.of(Recipe(), ("a", "b"), frozenset())
    queue = space.queue()
    assert [name for name, _ in queue][:2] == ["default", "default b"]
    assert len({json.dumps(s, sort_keys=True) for _, s in queue}) == len(queue)
    for _, settings in queue:
        for name, value in settings.items():
            domain = space.domain(name)
            if space.is_number(name):
                assert domain[0] <= value <= domain[1]
            else:
                assert value in domain


def test_phases_that_are_left_out_are_not_searched() -> None:
    only_features = Space.of(Recipe(epochs=0), ("a",), frozenset())
    assert "rate" not in only_features.names
    assert "unfreeze" not in only_features.names
    no_features = Space.of(Recipe(feature_epochs=0), ("a",), frozenset())
    assert "pull" not in no_features.names
    given = Space.of(Recipe(), ("a",), frozenset({"augmentation", "rate"}))
    assert not {"augmentation", "mixing", "rate"} & set(given.names)


# --- the command, and several processes


def test_command_prints_json_and_says_its_progress_on_stderr(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "cli.tune.db"
    result = CliRunner().invoke(
        tune_command,
        [str(photos), "-o", str(path), "--trials", "1", *_MODEL, *_OPTIONS, "--json"],
        standalone_mode=False,
    )
    assert result.return_value == 0, result.output
    document = json.loads(result.stdout)
    assert document["counts"] == {"complete": 1}
    assert document["best"]["number"] == document["default"]["number"] == 0
    assert "batch" not in document["best"]["settings"]
    assert str(tmp_path / "cli.keras") in document["command"]
    assert "Trial 0 (default)" in result.stderr


@pytest.mark.slow
def test_two_processes_share_one_study_and_a_killed_trial_is_done_again(
    photos: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.tune.db"
    options = [*_MODEL, *_OPTIONS]
    arguments = [sys.executable, str(_SCRIPT), "tune", str(photos), "-o", str(path)]

    def start(trials: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*arguments, "--trials", str(trials), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "EDGEKIT_CACHE": str(cache)},
        )

    both = [start(3), start(3)]
    output = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    trials = _study(path).get_trials()
    done = [t for t in trials if t.state is not TrialState.WAITING]
    assert [t.user_attrs.get("name") for t in trials].count("default") == 1
    assert 3 <= len(done) <= 4  # both may take the last one
    assert {t.state for t in done} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({json.dumps(t.user_attrs["recipe"], sort_keys=True) for t in done}) == len(done)
    for out, err in output:
        assert "Gain" in out
        assert "Warning" not in err
        assert "Traceback" not in err

    victim = start(100)
    assert victim.stderr is not None
    for line in victim.stderr:
        if match := _BEGINS.match(line):
            break
    killed = int(match[1])
    time.sleep(0.5)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert _study(path).get_trials()[killed].state is TrialState.RUNNING

    monkeypatch.setattr("edgekit.training.tuning.storage.GRACE", 3)
    tuning = tune(_request(photos, path, trials=killed + 1), Recipe(**_QUICKER), _QUICKER)
    assert tuning.trials[killed].state == "cut"
    redone = [t for t in tuning.trials if t.settings == tuning.trials[killed].settings]
    assert redone[-1].number != killed
    assert redone[-1].state in ("complete", "pruned")


# --- helpers


def _write_photos(root: Path, per_class: int = 12) -> Path:
    for number, colour in enumerate(COLOURS):
        (root / colour).mkdir(parents=True)
        for i in range(per_class):
            picture = colour_picture(colour, 100 * number + i)
            write_picture(root / colour / f"{i:02}.png", picture)
    return root


def _request(photos: Path, path: Path, trials: int | None = None) -> Request:
    return Request(photos, path, models=(TINY.name,), weights=None, trials=trials)


def _tuned(photos: Path, path: Path, trials: int) -> Tuning:
    return tune(_request(photos, path, trials), Recipe(**_QUICKER), _QUICKER)


def _study(path: Path) -> Any:
    url = f"sqlite:///{path}"
    name = path.name.removesuffix(".tune.db")
    return optuna.load_study(storage=url, study_name=name)
