"""What training leaves for people: curves, diagrams, the contact sheet, the card, the summary."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from edgekit.contract import Contract
from edgekit.errors import MissingError
from edgekit.evaluation import judging, metrics
from edgekit.report import lettering, training_summary
from edgekit.report.calibration import reliability_png
from edgekit.report.contact_sheet import Guess, contact_sheet_jpeg
from edgekit.report.curves import curves_png
from edgekit.report.facts import CardFacts, DataFacts, ModelFacts, TrainingFacts
from edgekit.report.model_card import model_card
from edgekit.types import EpochRow

_BLUE, _VERMILLION, _GREEN, _ORANGE = (0, 114, 178), (213, 94, 0), (0, 158, 115), (230, 159, 0)
_SECOND_PHASE = (241, 241, 241)

_ODD_NAMES = (
    *("caf\u00e9", "\u732b\u3068\u72ac", "\u0416\u0443\u043a", "\U0001f431 cat", "$x^2$ {} %s"),
    *(
        "a|b",
        "tab\there",
        "line\nbreak",
        "\x1b[31mred",
        "n" * 300,
        "<script>",
        "",
        "back`tick",
        "\udcff",
    ),
)


@pytest.fixture
def matplotlib() -> Iterator[None]:
    """Skips without matplotlib; what it warns of in the drawing is a failure."""
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def row(phase: str, epoch: int, value: float) -> EpochRow:
    rate = 1e-3 if phase == "feature extraction" else 1e-5
    return EpochRow(phase, epoch, 1.5, rate, value, 1 - value / 2, value * 1.1, 1 - value / 1.8)


def history(extraction: int, tuning: int) -> list[EpochRow]:
    rows = [row("feature extraction", i + 1, 0.9 * 0.9**i) for i in range(extraction)]
    return rows + [row("fine-tuning", i + 1, 0.3 * 0.9**i) for i in range(tuning)]


def decode(data: bytes) -> np.ndarray:
    """uint8[height, width, 3], RGB."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def pixels(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """bool[height, width]: where the picture has just this colour."""
    return (picture == colour).all(axis=2)


# --- learning curves


@pytest.mark.parametrize(("extraction", "tuning"), [(0, 0), (1, 0), (0, 1), (5, 8), (3, 150)])
def test_curves_of_any_length(matplotlib: None, extraction: int, tuning: int) -> None:
    rows = history(extraction, tuning)
    png = curves_png(rows, len(rows) - 1 if rows else None)
    assert decode(png).shape == (500, 1200, 3)
    assert png == curves_png(rows, len(rows) - 1 if rows else None)
    assert b"tEXt" not in png and b"tIME" not in png


def test_each_panel_has_its_curves(matplotlib: None) -> None:
    picture = decode(curves_png(history(6, 6)))
    for colour, panels in ((_BLUE, (True, True, False)), (_GREEN, (False, False, True))):
        parts = np.array_split(pixels(picture, colour), 3, axis=1)
        assert tuple(part.sum() > 100 for part in parts) == panels
    assert not pixels(picture, _ORANGE).any()


def test_phases_are_marked(matplotlib: None) -> None:
    none, narrow, wide = (
        pixels(decode(curves_png(history(8, n))), _SECOND_PHASE).sum() for n in (0, 2, 8)
    )
    assert none < 1000 < 10_000 < 2 * narrow < wide


def test_the_kept_epoch_is_marked_where_it_is(matplotlib: None) -> None:
    early, late = (decode(curves_png(history(8, 12), best)) for best in (1, 18))
    for panel in (slice(0, 400), slice(400, 800)):
        stars = [pixels(picture, _ORANGE)[:, panel] for picture in (early, late)]
        # The star in the legend is in both.
        first = np.argwhere(stars[0] & ~stars[1])[:, 1].mean()
        second = np.argwhere(stars[1] & ~stars[0])[:, 1].mean()
        assert second - first > 100
    assert not pixels(early, _ORANGE)[:, 800:].any()


def test_a_loss_that_is_no_number_leaves_a_gap_and_a_word(matplotlib: None) -> None:
    rows = history(4, 6)
    for i, value in ((5, math.nan), (6, math.inf)):
        rows[i] = dataclasses.replace(rows[i], loss=value, val_loss=value)
    whole, broken = decode(curves_png(history(4, 6))), decode(curves_png(rows, 5))
    bottom = pixels(broken, _VERMILLION)[470:]
    assert bottom.any() and not pixels(whole, _VERMILLION)[470:].any()
    assert pixels(broken, _BLUE)[:460, :400].sum() < pixels(whole, _BLUE)[:460, :400].sum()
    every = [dataclasses.replace(r, loss=math.nan, val_loss=math.nan) for r in rows * 3]
    assert decode(curves_png(every, 3)).shape == (500, 1200, 3)


def test_the_users_style_changes_nothing_and_stays(matplotlib: None) -> None:
    import matplotlib as library

    plain = curves_png(history(2, 2))
    with library.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert curves_png(history(2, 2)) == plain
        assert library.rcParams["axes.facecolor"] == "red"


def test_matplotlib_is_imported_when_drawing_and_pyplot_never() -> None:
    pytest.importorskip("matplotlib")
    code = (
        "import sys\n"
        "from edgekit.report import calibration, contact_sheet, curves, model_card\n"
        "before = 'matplotlib' in sys.modules\n"
        "curves.curves_png([])\n"
        "print(before, 'matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)\n"
    )
    words = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert words == ["False", "True", "False"]


def test_without_matplotlib_the_error_has_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match="matplotlib") as caught:
        curves_png([])
    assert caught.value.hint == 'pip install "edgekit[train]"'


# --- the reliability diagram


def reliability(confidence: float, right: float) -> np.ndarray:
    sure = np.full(100, confidence)
    return decode(reliability_png(metrics.calibration_of(sure, np.arange(100) < 100 * right)))


def test_bars_stand_where_and_as_high_as_they_should(matplotlib: None) -> None:
    low, high, left = reliability(0.9, 0.2), reliability(0.9, 0.8), reliability(0.3, 0.8)
    assert low.shape == (700, 600, 3)

    def bar(picture: np.ndarray) -> tuple[float, int]:
        """Its middle and its height; the legend has the colour too, and is left of it or above."""
        found = np.argwhere(pixels(picture, _BLUE)[130:])
        return float(np.median(found[:, 1])), int(np.ptp(found[:, 0]))

    assert bar(high)[1] == pytest.approx(4 * bar(low)[1], abs=12)
    assert bar(high)[0] - bar(left)[0] == pytest.approx(0.6 * 532, abs=20)


def test_one_picture_is_enough_for_a_diagram(matplotlib: None) -> None:
    one = metrics.calibration_of(np.array([0.3]), np.array([False]))
    assert reliability_png(one) == reliability_png(one)
    assert not pixels(decode(reliability_png(one)), _BLUE)[130:].any()


# --- text in pictures


def test_what_the_font_lacks_is_spelled() -> None:
    spelled = {
        "caf\u00e9": "cafe",
        "cafe\u0301": "cafe",
        "Stra\u00dfe": "Strasse",
        "\u0141\u00f3d\u017a": "Lodz",
        "\u00e6r\u00f8": "aero",
        "\ufb01sh": "fish",
        "\u732b": "\\u732b",
        "a\U0001f431": "a\\U0001f431",
        "tab\tnew\nline": "tab new line",
        "\x1b[31m": "\\x1b[31m",
        "stray\udc80": "stray\\udc80",
        "what?": "what?",
    }
    for text, expected in spelled.items():
        assert lettering.spell(text, lambda c: c.isascii() and c.isprintable()) == expected


def test_no_question_mark_stands_for_a_letter() -> None:
    question = lettering.spell("?")
    assert question == "?" and not lettering.can_draw("\ue000")
    for name in _ODD_NAMES:
        spelled = lettering.spell(name)
        assert all(map(lettering.can_draw, spelled)) and "?" not in spelled


def test_names_are_cut_to_the_room() -> None:
    assert lettering.shorten("short", 1000, 0.4) == "short"
    end = lettering.shorten("IMG_" + "0" * 100 + "42.jpg", 150, 0.4, keep_end=True)
    start = lettering.shorten("long" + "g" * 100, 150, 0.4)
    assert end.startswith("..") and end.endswith("42.jpg") and start.endswith("..")
    assert all(100 < lettering.width(text, 0.4) <= 150 for text in (start, end))
    assert lettering.shorten("anything", 3, 0.4) == ""


# --- the contact sheet


def flat(*colours: tuple[int, int, int], height: int = 60, width: int = 60) -> np.ndarray:
    """One picture of a single colour each: uint8[N, height, width, 3], RGB."""
    return np.stack([np.full((height, width, 3), colour, np.uint8) for colour in colours])


def test_pictures_come_in_the_order_given() -> None:
    dice = np.random.default_rng(0)
    colours = [tuple(map(int, colour)) for colour in dice.integers(0, 255, (8, 3))]
    guesses = [Guess(f"{i}.jpg", "a", "b" if i < 5 else "a", 0.5) for i in range(8)]
    sheet = decode(contact_sheet_jpeg(flat(*colours), guesses))
    step_x = (sheet.shape[1] - 14) // 6
    step_y = (sheet.shape[0] - 40) // 2
    for i, colour in enumerate(colours):
        row, column = divmod(i, 6)
        y, x = 40 + row * step_y, 14 + column * step_x
        assert sheet[y + 95, x + 95] == pytest.approx(np.array(colour), abs=6)
        frame = _VERMILLION if i < 5 else _GREEN
        assert sheet[y + 60 : y + 130, x + 1].mean(axis=0) == pytest.approx(frame, abs=45)
    # Below the last row's two pictures nothing is drawn.
    assert (sheet[40 + step_y :, 14 + 2 * step_x :] > 250).all()


def test_a_tall_picture_keeps_its_shape() -> None:
    guess = Guess("a.jpg", "a", "b", 0.5)
    sheet = decode(contact_sheet_jpeg(flat((200, 0, 0), height=80, width=40), [guess]))
    red = (sheet[..., 0] > 180) & (sheet[..., 1] < 40)
    heights, widths = red.sum(axis=0).max(), red.sum(axis=1).max()
    assert heights == pytest.approx(2 * widths, rel=0.05)


@pytest.mark.parametrize("name", _ODD_NAMES)
def test_odd_names_are_drawn(name: str) -> None:
    picture = flat((90, 90, 90))
    sheet = decode(contact_sheet_jpeg(picture, [Guess(f"{name}.jpg", name, "other", 0.5)]))
    other = decode(contact_sheet_jpeg(picture, [Guess("x.jpg", "another", "other", 0.5)]))
    assert sheet.shape == other.shape
    caption = slice(40 + 190, None)
    assert (sheet[caption] != other[caption]).any()
    # Nothing runs out of the sheet: the margin on the right stays white.
    assert (sheet[caption, -10:] > 240).all()


def test_no_picture_and_too_few_guesses() -> None:
    assert decode(contact_sheet_jpeg(np.zeros((0, 8, 8, 3), np.uint8), [])).min() < 100
    with pytest.raises(ValueError, match="shorter"):
        contact_sheet_jpeg(flat((0, 0, 0), (0, 0, 0)), [Guess("a", "a", "b", 0.5)])


# --- the model card


def facts(labels: tuple[str, ...] = ("ants", "bees"), images: int = 80) -> CardFacts:
    dice = np.random.default_rng(0)
    truth = np.arange(images) % len(labels)
    scores = dice.normal(0, 1, (images, len(labels))).astype(np.float32)
    scores[np.arange(images), truth] += 2
    val = np.bincount(truth, minlength=len(labels)).tolist()
    return CardFacts(
        ModelFacts("out/m.keras", "mobilenet_v2", "arXiv:1801.04381", "none", "n/a", 2_225_153, 5),
        DataFacts(
            "../photos/insects/",
            labels,
            {"train": tuple(range(7, 7 + len(labels))), "val": tuple(val)},
            "the folders train/ and val/",
            "ab" * 32,
        ),
        TrainingFacts(
            "edgekit train ../photos/insects --seed 3",
            {"--seed": 3},
            tuple(history(3, 4)),
            5,
            seconds={"read": 2.0, "train": 131.0, "write": 0.01},
        ),
        Contract(224, 192, (127.0,) * 3, (128.0,) * 3, fit="crop", crop_fraction=0.875).to_dict(),
        {"val": judging.judge(scores, truth)},
        {"curves": "curves.png", "metrics": "all metrics.json"},
        ("out/m.keras", "out/m.edgekit/"),
        {"edgekit": "0.1.0"},
        "2 cores",
    )


def section(card: str, title: str) -> str:
    """The text below a heading, up to the next."""
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_card_tells_what_is_known_and_asks_for_the_rest() -> None:
    given = facts()
    card = model_card(given)
    assert card == model_card(facts()) and card.endswith("\n") and "\n\n\n" not in card
    assert card.startswith("# Model card: m.keras\n")
    for title in ("Model details", "Intended use", "Factors", "Ethical considerations"):
        assert "*To be written by the author:" in section(card, title)
    result = given.results["val"]
    assert f"| val | 80 | {100 * result.top1:.1f} % |" in section(card, "Results")
    assert f"{100 * result.calibration.ece:.1f} % |" in section(card, "Results")
    assert "| bees | 40 |" in section(card, "Results")
    data = section(card, "Training data")
    assert "`insects`" in data and "ab" * 32 in data and "| **all classes** | 15 | 80 |" in data
    recipe = section(card, "Training recipe")
    assert (
        "\nedgekit train ../photos/insects --seed 3\n" in recipe and "| `--seed` | `3` |" in recipe
    )
    assert "Kept: epoch 3 of fine-tuning." in recipe and "![Learning curves](curves.png)" in recipe
    words = section(card, "Preprocessing")
    assert "224 x 192" in words and "`(pixel - 127) / 128`" in words and "87.5 %" in words
    made = section(card, "Made with")
    assert "2 min 13 s (read 2.0 s, train 2 min 11 s)" in made
    assert "[all metrics.json](all%20metrics.json)" in made


def test_the_limitations_follow_from_the_figures() -> None:
    given = facts()
    plain = section(model_card(given), "Limitations")
    assert "one of its 2 classes" in plain and "There was no test set" in plain
    assert "pictures in `val`" not in plain and "uneven" not in plain
    judged = dataclasses.replace(
        given, results={**given.results, "test": facts(images=20).results["val"]}
    )
    assert "There was no test set" not in model_card(judged)
    assert "2 classes of 2 with fewer than 30 pictures in `test`" in model_card(judged)
    data = dataclasses.replace(given.data, pictures={"train": (30, 10), "val": (40, 40)})
    assert "30 pictures of the largest class, 10 of the smallest" in model_card(
        dataclasses.replace(given, data=data)
    )
    scores = np.array([[5, 0], [0, 5], [5, 0], [5, 0]], np.float32)
    wrong = judging.judge(scores, np.array([0, 1, 1, 1]))
    weak = section(model_card(dataclasses.replace(given, results={"val": wrong})), "Limitations")
    assert "It misses bees most often: recall 33.3 % of 3 pictures." in weak
    assert "bees taken for ants (2 pictures of `val`)" in weak
    assert "49.3 points off" in weak


def test_warnings_and_broken_files_are_in_the_card() -> None:
    broken = tuple((f"a/{i}.jpg", "the file is empty") for i in range(30))
    data = dataclasses.replace(facts().data, broken=broken, warnings=("Only 7 ants.",))
    training = dataclasses.replace(
        facts().training, stopped="no better", warnings=("Batch halved to 16.",), changed={}
    )
    card = model_card(dataclasses.replace(facts(), data=data, training=training))
    assert "(30)" in card and "`a/9.jpg`" in card and "`a/10.jpg`" not in card
    assert "and 20 more" in card
    assert "Warning: Only 7 ants." in section(card, "Training data")
    recipe = section(card, "Training recipe")
    assert "Warning: Batch halved to 16." in recipe and "Stopped early: no better." in recipe
    assert "Every setting is at its default." in recipe


def test_names_in_the_card_stay_names() -> None:
    labels = tuple(name or "(empty)" for name in _ODD_NAMES)
    card = model_card(facts(labels, 130))
    results = section(card, "Results")
    cells = [line for line in results.splitlines() if line.startswith("| ")]
    # An escaped pipe ends no cell.
    assert {line.replace("\\|", "").count("|") for line in cells} == {7, 8}
    assert "a\\|b" in results and "\\<script\\>" in results and "back\\`tick" in results
    assert "<script>" not in card and "\x1b" not in card
    assert "\u732b\u3068\u72ac" in results


def test_a_thousand_classes_make_a_short_card() -> None:
    card = model_card(facts(tuple(f"class {i}" for i in range(1000)), 3000))
    assert len(card.splitlines()) < 200
    assert "the 25 classes with the lowest F1" in card
    assert "The 25 smallest of 1,000 classes" in section(card, "Training data")
    assert "| class 24 | 31 |" in card and "| class 25 | 32 |" not in section(card, "Training data")


def test_a_card_of_a_training_that_was_cut_short() -> None:
    training = TrainingFacts("edgekit train x", {}, (), None)
    card = model_card(dataclasses.replace(facts(), training=training, results={}, files={}))
    assert "The model was not evaluated." in card
    assert "![" not in card and "Kept:" not in card and "\n\n\n" not in card


# --- the summary


def test_the_summary_in_aligned_lines() -> None:
    given = facts()
    text = training_summary.as_text(given)
    result = given.results["val"]
    lines = text.splitlines()
    keys = [line[:12].strip() for line in lines[:7]]
    assert keys == ["Model", "Data", "Phases", "Val accuracy", "Macro F1", "Calibration", "Time"]
    assert {line[12:14] for line in lines[:7]} == {"  "}
    assert "15 train, 80 val pictures" in lines[1]
    assert "feature extraction 3 epochs, 4.5 s; fine-tuning 4 epochs, 6.0 s" in lines[2]
    assert f"{round(80 * result.top1)} of 80" in lines[3]
    assert lines[-2:] == [
        "Written: out/m.keras, out/m.edgekit/",
        "Next: edgekit convert --int8 out/m.keras",
    ]
    assert any(line.split()[:2] == ["bees", "40"] for line in lines)


def test_many_classes_and_odd_paths_in_the_summary() -> None:
    many = training_summary.as_text(facts(tuple(f"class {i}" for i in range(13)), 130))
    assert "Top-5" in many and "class 3" not in many
    model = dataclasses.replace(facts().model, path="my model.keras")
    text = training_summary.as_text(dataclasses.replace(facts(), model=model))
    assert text.endswith("--int8 'my model.keras'")
    odd = training_summary.as_text(facts(_ODD_NAMES[:12], 130))
    assert "\x1b" not in odd and "caf\u00e9" in odd


def test_the_summary_for_a_notebook_is_sound_html() -> None:
    data = dataclasses.replace(facts(_ODD_NAMES[:12]).data, warnings=("a < b & c",))
    given = dataclasses.replace(facts(_ODD_NAMES[:12], 130), data=data)
    tree = ElementTree.fromstring(training_summary.as_html(given, b"\x89PNG"))
    text = "".join(tree.itertext())
    assert "Warning: a < b & c" in text and "<script>" in text and "Next: edgekit convert" in text
    (image,) = tree.iter("img")
    assert image.get("src") == "data:image/png;base64,iVBORw=="
    assert len(list(tree.iter("table"))) == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (150, "2 min 30 s"),
        (3599.6, "1 h 0 min"),
        (3900, "1 h 5 min"),
    ],
)
def test_durations_in_words(seconds: float, expected: str) -> None:
    from edgekit.report import words

    assert words.duration(seconds) == expected
