"""`classify.py --http`: the page in a real browser, and what it refuses."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, colour_picture, encode, write_picture
from deploy_support import classifier, classify

from edgekit import tflite

_SECONDS = 20


@pytest.fixture(scope="module")
def package(run_cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    model = classifier(folder / "colours.tflite")
    run = run_cli("bundle", "pi", model, "-o", folder / "package")
    assert run.returncode == 0, run.stderr
    return folder / "package"


def serving(package: Path) -> Iterator[int]:
    """The page on a free port; it has to end by Ctrl-C as it should."""
    command = [sys.executable, str(package / "classify.py"), "--http", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        said = [child.stderr.readline()]
        while "Open http://localhost:" not in said[-1]:
            assert said[-1], "".join(said)
            said.append(child.stderr.readline())
        found = re.search(r"localhost:(\d+)", said[-1])
        assert found is not None
        yield int(found[1])
        child.send_signal(signal.SIGINT)
        assert child.wait(_SECONDS) == 130
        assert "Traceback" not in child.stderr.read()


@pytest.fixture(scope="module")
def port(package: Path) -> Iterator[int]:
    yield from serving(package)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    kind = answer.getheader("Content-Type", "")
    return answer.status, json.loads(content) if "json" in kind else content.decode()


# --- what a program sends


def test_a_photo(port: int) -> None:
    status, found = ask(port, "POST", "/classify", encode(".jpg", colour_picture("green", 1)))
    assert (status, found["scores"][0]["label"]) == (200, "green")
    assert [set(s) for s in found["scores"]] == [{"label", "index", "score", "raw"}] * 3


def test_the_model(port: int) -> None:
    status, found = ask(port, "GET", "/model")
    assert status == 200
    assert (found["name"], found["classes"], found["runs_on"]) == ("colours.tflite", 3, "CPU")
    assert found["verified"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "error"),
    [
        ("POST", "/classify", b"no picture", {}, 422, "not a picture"),
        ("POST", "/classify", b"", {}, 422, "empty"),
        ("POST", "/classify", None, {"Content_Length": "x"}, 411, "length"),
        ("POST", "/classify", None, {"Content_Length": str(1 << 40)}, 413, "64 MiB"),
        ("POST", "/", b"x", {}, 404, "/classify"),
        ("GET", "/../package.json", None, {}, 404, "/model"),
        ("GET", "/", None, {"Host": "evil.example:8000"}, 403, "localhost"),
        ("POST", "/classify", b"x", {"Host": "evil.example"}, 403, "localhost"),
    ],
)
def test_what_is_refused(port, method, path, body, headers, status: int, error: str) -> None:
    found = ask(port, method, path, body, **headers)
    assert found[0] == status
    assert error in found[1]["error"]
    assert ask(port, "GET", "/model")[0] == 200


def test_a_picture_of_too_many_pixels(port: int) -> None:
    """A few bytes of PNG that would take 400 MB of memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    status, found = ask(port, "POST", "/classify", png)
    assert status == 422
    assert "OpenCV" in found["error"]


def test_many_at_once(port: int) -> None:
    """The interpreter is for one at a time; nobody gets the answer of another."""
    wrong = []

    def send(colour: str, seed: int) -> None:
        for _ in range(5):
            picture = np.ascontiguousarray(colour_picture(colour, seed)[..., ::-1])
            status, found = ask(port, "POST", "/classify", encode(".png", picture))
            if status != 200 or found["scores"][0]["label"] != colour:
                wrong.append((colour, found))

    threads = [threading.Thread(target=send, args=(COLOURS[i % 3], i)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_client_that_goes_away(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"POST /classify HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 9\r\n\r\nx"
        )
    assert ask(port, "GET", "/model")[0] == 200


def test_it_listens_on_this_machine_only(port: int) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    places = {line.split()[1] for line in listening if line.split()[1].endswith(f":{port:04X}")}
    assert "00000000" not in {place.partition(":")[0] for place in places}
    assert f"0100007F:{port:04X}" in places


def test_a_port_that_is_taken(package: Path, port: int) -> None:
    run = classify(package, "--http", port)
    assert run.returncode == 4
    assert f"port {port} of 127.0.0.1: Address already in use" in run.stderr
    assert f"--http {port + 1}" in run.stderr


# --- the page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium on this machine: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("window-size=760,620", "force-prefers-no-reduced-motion", f"user-data-dir={profile}"),
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, port: int) -> Iterator[Any]:
    browser.get(f"http://localhost:{port}/")
    wait(browser, lambda: text(browser, "name") == "colours.tflite")
    browser.get_log("browser")
    yield browser
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert all("/classify" in line["message"] for line in severe), severe


def wait(browser: Any, condition: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, _SECONDS).until(lambda _: condition())


def text(browser: Any, name: str) -> str:
    return browser.find_element("id", name).text


def drop(browser: Any, path: Path) -> None:
    """Drops a file as a hand does: the browser gets it from the system, not from a script."""
    place = browser.find_element("id", "drop").rect
    where = {"x": place["x"] + place["width"] / 2, "y": place["y"] + place["height"] / 2}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, **where, "data": data}
        browser.execute_cdp_cmd("Input.dispatchDragEvent", event)


def photo(folder: Path, colour: str) -> Path:
    path = folder / f"{colour}.png"
    write_picture(path, colour_picture(colour, 4, 240, 320))
    return path


def test_a_photo_is_dropped(page: Any, tmp_path: Path) -> None:
    drop(page, photo(tmp_path, "blue"))
    wait(page, lambda: text(page, "guesses").startswith("blue"))
    assert len(page.find_elements("css selector", "#guesses li")) == 3
    assert "on this device" in text(page, "time")
    assert text(page, "error") == ""
    assert page.execute_script("return document.getElementById('photo').naturalWidth") == 320
    assert not page.find_element("id", "banner").is_displayed()
    assert "Right: every byte is the same" in text(page, "about")


def test_a_photo_is_chosen_then_another(page: Any, tmp_path: Path) -> None:
    for colour in ("red", "green"):
        page.find_element("id", "file").send_keys(str(photo(tmp_path, colour)))
        wait(page, lambda colour=colour: text(page, "guesses").startswith(colour))


def test_what_is_no_picture(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    drop(page, tmp_path / "notes.txt")
    wait(page, lambda: "notes.txt: the picture: not a picture" in text(page, "error"))
    assert not page.find_element("id", "answer").is_displayed()
    drop(page, photo(tmp_path, "red"))
    wait(page, lambda: text(page, "guesses").startswith("red"))
    assert text(page, "error") == ""


def test_the_page_can_be_used_without_a_mouse(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page.find_element("tag name", "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "file"
    names = page.execute_script(
        "return [...document.images, ...document.querySelectorAll('input')].map("
        "e => e.alt || e.labels?.[0]?.textContent.trim())"
    )
    assert all(names)


def test_wrong_answers_are_on_the_page(browser: Any, package: Path, tmp_path: Path) -> None:
    """A package whose golden vectors don't fit the model: the banner says so."""
    spoilt = Path(shutil.copytree(package, tmp_path / "spoilt"))
    path = spoilt / "colours.tflite"
    contract = tflite.read_contract(path.read_bytes(), "m")
    assert contract is not None
    path.write_bytes(tflite.pack(path.read_bytes(), type(contract)(32, 32, labels=COLOURS)))
    index = json.loads((spoilt / "package.json").read_text())
    index["cpu"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (spoilt / "package.json").write_text(json.dumps(index))
    for port in serving(spoilt):
        browser.get(f"http://localhost:{port}/")
        wait(browser, lambda: browser.find_element("id", "banner").is_displayed())
        assert "differs in the stage fit" in text(browser, "banner")
