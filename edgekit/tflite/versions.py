"""Operator versions: which one each use of an operator needs, and which TensorFlow Lite has it.

A runtime refuses a file whose operators have versions that it doesn't know. So versions are how a
file says what it needs; one that says too little is loaded by an old runtime, which then answers
rubbish. The rules are data, in versions.toml beside this module.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.tflite.model import Model, Operator, Subgraph, Tensor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The metadata entry for the oldest runtime that runs a file, and the bytes it is padded to.
MIN_RUNTIME_VERSION = "min_runtime_version"
MIN_RUNTIME_BYTES = 16


@dataclass(frozen=True)
class Need:
    """What one use of an operator needs.

    Attributes:
        operator: The builtin operator.
        version: The lowest version of it that computes this use right.
        since: The first TensorFlow Lite that has it, such as `2.11`, or None where no list says.
        why: What the version is for, in words; empty for version 1.
    """

    operator: str
    version: int
    since: str | None
    why: str

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"TensorFlow Lite {self.since} or later ({self.operator} {self.version}{why})"


def need(graph: Subgraph, operator: Operator) -> Need | None:
    """What an operator needs, or None where nothing is known of it: custom, or not in the data."""
    rules = _rules().get(operator.name)
    if rules is None or operator.custom:
        return None
    use = _Use(graph, operator)
    version, words = next(
        ((version, words) for version, words in rules.needs if use.fits(words)), (1, ())
    )
    return Need(operator.name, version, rules.since_of(version), _in_words(words))


def runtime_of(model: Model) -> Need | None:
    """The need that decides which TensorFlow Lite is the oldest to run a model, or None.

    Operators of which nothing is known, and versions that no list has, are left out.
    """
    found = [
        one
        for graph in model.subgraphs
        for operator in graph.operators
        if (one := need(graph, operator)) is not None and one.since is not None
    ]
    return max(found, key=lambda one: comparable(one.since or ""), default=None)


def known(operator: str) -> int:
    """How many versions of an operator are known, 0 for one that isn't in the data."""
    rules = _rules().get(operator)
    return 0 if rules is None else len(rules.since)


def since(operator: str, version: int) -> str | None:
    """The first TensorFlow Lite with a version of an operator, or None where no list has it."""
    rules = _rules().get(operator)
    return None if rules is None else rules.since_of(version)


def at_least(version: str, other: str) -> bool:
    """Whether a version of TensorFlow Lite is another or a later one; `2.11` is any 2.11."""
    return comparable(version)[:2] >= comparable(other)[:2]


def comparable(version: str) -> tuple[int, ...]:
    """A version of TensorFlow Lite as numbers; what is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


# --- the rules


@dataclass(frozen=True)
class _Rules:
    """Of one operator: since when each version is there, and (version, words) in order."""

    since: tuple[str, ...]
    needs: tuple[tuple[int, tuple[str, ...]], ...]

    def since_of(self, version: int) -> str | None:
        listed = self.since[version - 1] if 1 <= version <= len(self.since) else "-"
        return None if listed == "-" else listed


@functools.cache
def _rules() -> Mapping[str, _Rules]:
    text = Path(__file__).with_suffix(".toml").read_text("utf-8")
    return {
        name: _Rules(tuple(entry["since"].split()), tuple(map(_parsed, entry.get("needs", ()))))
        for name, entry in tomllib.loads(text).items()
    }


def _parsed(rule: str) -> tuple[int, tuple[str, ...]]:
    version, *words = rule.split()
    return int(version), tuple(words)


class _Use:
    """One operator in its graph, against which a rule's words are held."""

    def __init__(self, graph: Subgraph, operator: Operator) -> None:
        self.options = operator.options
        self.inputs = _tensors(graph, operator.inputs)
        self.outputs = _tensors(graph, operator.outputs)

    def fits(self, words: Iterable[str]) -> bool:
        """Whether all of a rule's words hold."""
        return all(self._holds(word.lstrip("!")) != word.startswith("!") for word in words)

    def tensor(self, letter: str) -> Tensor | None:
        """The tensor that x, w, v or y stands for, if there is one."""
        tensors = self.outputs if letter == "y" else self.inputs
        place = {"x": 0, "w": 1, "v": 2, "y": 0}[letter]
        return tensors[place] if place < len(tensors) else None

    def rank(self, letter: str) -> int:
        """The number of dimensions."""
        tensor = self.tensor(letter)
        return len(tensor.shape) if tensor is not None else 0

    def _holds(self, word: str) -> bool:
        if match := re.fullmatch(r"([xwvy])=(.*)", word):
            tensor = self.tensor(match[1])
            return tensor is not None and tensor.dtype in match[2].split(",")
        if word in _WORDS:
            return _WORDS[word](self)
        return self.options.get(word, 0) not in (0, False, "NONE", ())


def _tensors(graph: Subgraph, indices: Iterable[int]) -> list[Tensor | None]:
    return [graph.tensors[i] if i >= 0 else None for i in indices]


def _channels(letter: str) -> Callable[[_Use], bool]:
    def check(use: _Use) -> bool:
        tensor = use.tensor(letter)
        return tensor is not None and len(tensor.scales) > 1

    return check


def _grouped(use: _Use) -> bool:
    image, kernel = use.tensor("x"), use.tensor("w")
    if image is None or kernel is None or not image.shape or not kernel.shape:
        return False
    return image.shape[-1] != kernel.shape[-1]


def _broadcast(use: _Use) -> bool:
    """Whether two inputs of different shape, one of more than four dimensions, go together."""
    shapes = [tensor.shape for tensor in use.inputs if tensor is not None]
    return len(shapes) > 1 and shapes[0] != shapes[1] and max(map(len, shapes)) > 4


def _upscaling(use: _Use) -> bool:
    """Whether the product's scale is not above that of its factors."""
    scales = [t.scale if t is not None else None for t in (*use.inputs[:2], *use.outputs[:1])]
    if len(scales) != 3 or not all(scales):
        return False
    left, right, product = (float(scale or 0) for scale in scales)
    return left * right / product >= 1


def _quantized(use: _Use) -> bool:
    tensor = use.tensor("x")
    return tensor is not None and tensor.is_quantized


def _sparse(use: _Use) -> bool:
    tensor = use.tensor("w")
    return tensor is not None and tensor.sparse


#: What a rule's word means; words that aren't here are names of options.
_WORDS: Mapping[str, Callable[[_Use], bool]] = {
    "bias": lambda use: len(use.inputs) == 4 and use.inputs[3] is not None,
    "broadcast": _broadcast,
    "channels": _channels("w"),
    "channels_of_x": _channels("x"),
    "channels_of_y": _channels("y"),
    "dilated": lambda use: (
        (use.options.get("dilation_w_factor", 1), use.options.get("dilation_h_factor", 1)) != (1, 1)
    ),
    "grouped": _grouped,
    "quantized": _quantized,
    "rank>4": lambda use: use.rank("x") > 4,
    "rank>5": lambda use: use.rank("x") > 5,
    "rank=4": lambda use: use.rank("x") == 4,
    "rank=5": lambda use: use.rank("x") == 5,
    "rank_of_w=5": lambda use: use.rank("w") == 5,
    "rank_of_v=5": lambda use: use.rank("v") == 5,
    "shuffled": lambda use: use.options.get("weights_format") == 1,
    "sparse": _sparse,
    "two_inputs": lambda use: len(use.inputs) == 2,
    "upscaling": _upscaling,
}

_LETTERS = {"x": "input", "w": "second input", "v": "third input", "y": "output"}
_PHRASES = {
    "bias": "a bias",
    "broadcast": "broadcast over more than 4 dimensions",
    "channels": "a scale for each output channel",
    "channels_of_x": "a scale for each channel",
    "channels_of_y": "a scale for each channel",
    "dilated": "dilation",
    "grouped": "a grouped convolution",
    "rank>4": "more than 4 dimensions",
    "rank>5": "more than 5 dimensions",
    "two_inputs": "no bias",
    "upscaling": "a product whose scale is below that of its factors",
}


def _in_words(words: Iterable[str]) -> str:
    """A rule's words for a reader."""
    said = []
    for word in words:
        if match := re.fullmatch(r"([xwvy])=(.*)", word):
            said.append(f"{match[2].replace(',', ' or ')} {_LETTERS[match[1]]}")
        else:
            said.append(_PHRASES.get(word, word.replace("!", "not ").replace("_", " ")))
    return ", ".join(said)
