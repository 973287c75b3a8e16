"""The study: in a database, shared by processes, of one data set and recipe. Imports Optuna."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from edgekit.errors import MissingError, RuntimeFailure, UnreadableError, UsageError
from edgekit.quiet import debugging
from edgekit.training.tuning.space import Value

#: Seconds between two signs of life of a trial, and without one until it counts as killed.
HEARTBEAT, GRACE = 10, 60
#: Seconds that SQLite waits for a process that writes, and that this one waits for another that is
#: setting up the same study.
_LOCKED, _SETTING_UP = 60.0, 20.0
#: How often a trial is begun anew after its process was killed: what ends the process each time
#: (the system, for want of memory) should not do so for ever.
RETRIES_MAX = 2

SCHEMA = "edgekit.tune/1"
#: User attributes of the study, and of trials.
_FACTS, _READY = "facts", "ready"
NAME, RETRIES, CUT, ERROR = "name", "retries", "cut", "error"

Queue = Sequence[tuple[str, Mapping[str, Value]]]


def sqlite(path: Path) -> str:
    """The URL of an SQLite file.

    Raises:
        UsageError: Nothing can be written there.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", "Name a file with -o, such as -o photos.tune.db.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder doesn't exist", f"Create it: mkdir -p {path.parent}")
    return f"sqlite:///{path.absolute()}"


def shown(url: str) -> str:
    """A URL without its password."""
    return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)


def connect(url: str) -> RDBStorage:
    """Opens a database, and makes the tables where there are none.

    Raises:
        UsageError: It is no URL of a database.
        UnreadableError: It is there, and is no database of Optuna.
        MissingError: The package for this kind of database is not installed.
        RuntimeFailure: It doesn't answer.
    """
    deadline = time.monotonic() + _SETTING_UP
    while True:
        try:
            with quiet_optuna():
                return _open(url)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError) as error:
            # Two processes that make the tables at the same time: one of them is told that they
            # are there already, or half of them.
            raced = isinstance(error, sqlalchemy.exc.IntegrityError) or "exists" in str(error)
            if time.monotonic() > deadline or not raced:
                raise RuntimeFailure(
                    f"{shown(url)}: the database doesn't answer ({_first_line(error)})",
                    "Look at the URL, the permissions and the server.",
                ) from error
            time.sleep(0.1)


def _open(url: str) -> RDBStorage:
    try:
        kind = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(
            f"storage {url!r} is no URL of a database",
            "Write sqlite:///FILE, mysql+pymysql://USER:PASSWORD@HOST/NAME, or the like.",
        ) from error
    waits = kind.get_backend_name() == "sqlite"
    try:
        return RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": _LOCKED}} if waits else None,
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=_retry_killed,
        )
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise UsageError(f"{shown(url)}: no such kind of database ({error})") from error
    except ImportError as error:
        raise MissingError(
            f"{shown(url)}: the package for this database is not installed ({error.__cause__})",
            "Install it, for example: pip install pymysql (mysql+pymysql://...), "
            "pip install psycopg2-binary (postgresql://...).",
        ) from error
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError):
        raise
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        raise UnreadableError(
            f"{shown(url)}: is no database of this Optuna ({_first_line(error)})",
            "Name another file with -o; for one of an older Optuna: optuna storage upgrade.",
        ) from error


def open_study(
    storage: RDBStorage,
    name: str,
    facts: Mapping[str, Any],
    queue: Queue,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> Study:
    """Opens a study, or makes it; of processes that start together, one does.

    Args:
        storage: Where.
        name: Of the study.
        facts: What must be the same for all its trials, as JSON values.
        queue: (name, settings) of the trials that come first, in this order.
        sampler: Proposes the others.
        pruner: Ends those that fall behind.

    Raises:
        UsageError: The study there is of something else; the differences are named.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", sampler=sampler, pruner=pruner
        )
        _set_up(study, facts, queue)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler, pruner=pruner)
        _wait(lambda: _READY in study.user_attrs)
        if not study.user_attrs and study.get_trials(deepcopy=False):
            raise UsageError(
                f"the study {name!r} is there already, and is none of edgekit",
                "Choose another name with --study.",
            ) from None
        if _READY not in study.user_attrs:  # its maker was killed
            _set_up(study, facts, queue)
    _require_same(study, facts)
    return study


def _set_up(study: Study, facts: Mapping[str, Any], queue: Queue) -> None:
    study.set_user_attr(_FACTS, dict(facts))
    known = {trial.user_attrs.get(NAME) for trial in study.get_trials(deepcopy=False)}
    for name, settings in queue:
        if name not in known:
            study.enqueue_trial(dict(settings), user_attrs={NAME: name})
    study.set_user_attr(_READY, True)


def _require_same(study: Study, facts: Mapping[str, Any]) -> None:
    kept = study.user_attrs[_FACTS]
    differences = [
        f"{key.replace('_', ' ')} was {_text(kept.get(key))}, is {_text(facts.get(key))}"
        for key in sorted({*facts, *kept})
        if facts.get(key) != kept.get(key)
    ]
    if differences:
        raise UsageError(
            f"the study {study.study_name!r} was begun with something else: "
            f"{'; '.join(differences)}",
            "Give the same to go on with it, or begin another with -o or --study.",
        )


def _text(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def recover(study: Study, wait: Callable[[float], bool]) -> None:
    """Fails trials whose process was killed, and puts them in the queue again.

    Args:
        study: Where.
        wait: Called with seconds while trials run of which it isn't known yet whether they live;
            ends the waiting with False.
    """
    deadline = time.monotonic() + GRACE + 1
    while True:
        optuna.storages.fail_stale_trials(study)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if not running or time.monotonic() > deadline or _waiting(study):
            return
        if not wait(0.5):
            return


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Tries the same again, once what waits already is done."""
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={k: v for k, v in trial.user_attrs.items() if k in (NAME, RETRIES)},
            system_attrs=trial.system_attrs,
        )
    )


def _retry_killed(study: Study, trial: FrozenTrial) -> None:
    retries = trial.user_attrs.get(RETRIES, 0)
    if retries < RETRIES_MAX:
        again = {**trial.user_attrs, RETRIES: retries + 1}
        trial.user_attrs = again
        requeue(study, trial)


def _waiting(study: Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SETTING_UP
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps what Optuna logs and warns about off the terminal, unless it was asked for."""
    if debugging():
        yield
        return
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            # The heartbeat, multivariate TPE and PED-ANOVA are called experimental; setup.cfg
            # keeps to the versions they were tried with.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
