"""report.html in headless Chromium: the player steps, nothing is logged, labels stay text."""

import itertools
import json
import os
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-pipe"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
    ),
]


class Browser:
    """Chromium spoken to over the pipe of its debugging protocol; no library is needed.

    Args:
        home: an empty folder for its profile.
        seconds: longest wait for an answer.
    """

    def __init__(self, home, seconds=30.0):
        assert CHROMIUM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Chromium reads commands from file descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        command = ["bash", "-c", script, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={home}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(home)},
        )
        os.close(to_read)
        os.close(to_write)
        self._seconds = seconds
        self._rest = b""
        self._ids = itertools.count(1)
        self._session = None
        self.events = []
        pages = self.send("Target.getTargets")["targetInfos"]
        (page,) = [target["targetId"] for target in pages if target["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """One command and its answer; what happens meanwhile goes to `events`."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        deadline = time.monotonic() + self._seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def open(self, file):
        """Load a file and wait for all of it."""
        self.events.clear()
        self.send("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression):
        """What a JavaScript expression gives, promises awaited."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": " "} if key == " " and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def place(self):
        """Video and frame that the player shows."""
        data = self.value("({...document.getElementById('player').dataset})")
        return data["video"], data["frame"]

    def complaints(self):
        """Errors, warnings and dialogs since the page was opened."""
        wanted = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"]
        wanted += ["Page.javascriptDialogOpening", "Network.loadingFailed"]
        return [event for event in self.events if event.get("method") in wanted]

    def text(self, name):
        """The text of an element."""
        return self.value(f"document.getElementById('{name}').textContent")

    def close(self):
        """End the browser that was started here."""
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One Chromium for the tests of this file."""
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


@pytest.fixture
def opened(browser, report):
    """The browser with the report, at the first frame of the first video."""
    browser.open(report)
    return browser


@pytest.fixture
def narrow(browser, report):
    """The same page on a telephone, 390 pixels wide and 700 high."""
    size = {"width": 390, "height": 700, "deviceScaleFactor": 1}
    browser.send("Emulation.setDeviceMetricsOverride", **size, mobile=True)
    browser.open(report)
    yield browser
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_the_page_opens_without_a_complaint_and_asks_for_nothing_else(opened, report):
    assert opened.place() == ("0", "0")
    opened.press("ArrowRight")
    assert opened.complaints() == []
    asked = [
        event["params"]["request"]["url"]
        for event in opened.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def test_arrow_keys_step_through_frames_and_in_the_player_through_videos(opened, evil):
    for frame in ("1", "2", "3", "0"):
        opened.press("ArrowRight")
        assert opened.place() == ("0", frame)
    opened.press("ArrowLeft")
    assert opened.place() == ("0", "3")
    assert opened.text("where") == f"frame 4 of 4, {evil}"
    opened.press("ArrowDown")
    assert opened.place() == ("0", "3")  # elsewhere on the page the key scrolls
    opened.value("document.getElementById('player').focus()")
    opened.press("ArrowDown")
    assert opened.place() == ("1", "0")
    opened.press("ArrowUp")
    opened.press("ArrowUp")
    assert opened.place() == ("4", "0")


def test_space_plays_until_it_is_pressed_again(opened):
    opened.value("document.getElementById('player').focus()")
    opened.press(" ")
    changed = """new Promise((done) => {
      const look = () => document.getElementById('player').dataset.frame !== '0'
        ? done(true) : setTimeout(look, 20);
      look();
    })"""
    assert opened.value(changed)
    assert opened.text("play") == "pause"
    opened.press(" ")
    assert opened.text("play") == "play"


def test_buttons_list_and_slider_do_the_same(opened):
    for button, frame in (("forward", "1"), ("back", "0")):
        opened.value(f"document.getElementById('{button}').click()")
        assert opened.place() == ("0", frame)
    for name, set_, event, place in (
        ("video", "selectedIndex = 2", "change", ("2", "0")),
        ("frame", "value = 3", "input", ("2", "3")),
    ):
        element = f"document.getElementById('{name}')"
        opened.value(f"{element}.{set_}; {element}.dispatchEvent(new Event('{event}'))")
        assert opened.place() == place


def test_every_policy_has_a_panel_with_its_box_curve_and_classes(opened, evil):
    assert opened.value("[...document.querySelectorAll('.panel h3')].map(e => e.textContent)") == [
        *("random", "center", evil)
    ]
    assert opened.value("document.querySelectorAll('.panel polyline').length") == 3
    assert opened.value("document.querySelectorAll('.panel .bar').length") == 9  # three classes
    # 40 pixels are drawn eleven times as large; the center's box begins at (14, 14).
    green = """new Promise((done) => {
      const look = () => {
        const canvas = document.querySelectorAll('.panel canvas')[1];
        const at = (x, y) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
        const pixel = at(14 * 11, 20 * 11);
        if (pixel[3] === 255 && at(2, 2)[3] === 255) done([canvas.width, pixel]);
        else setTimeout(look, 20);
      };
      look();
    })"""
    assert opened.value(green) == [440, [60, 255, 90, 255]]


def test_evil_labels_stay_text_everywhere(opened, evil):
    for _ in range(5):
        opened.press("ArrowRight")
    assert opened.value("document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert opened.value("document.querySelectorAll('script').length") == 2
    assert opened.value("document.body.innerText").count(evil) > 3
    assert opened.value("document.querySelector('option').textContent") == f"0: {evil}"
    assert opened.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_background(opened, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.send("Emulation.setEmulatedMedia", features=features)
    brightness = """(name) => {
      const numbers = getComputedStyle(document.body)[name].match(/[0-9.]+/g).map(Number);
      return 0.2126 * numbers[0] + 0.7152 * numbers[1] + 0.0722 * numbers[2];
    }"""
    ink, paper = (opened.value(f"({brightness})('{n}')") for n in ("color", "backgroundColor"))
    assert abs(ink - paper) > 150
    assert (paper > ink) == (scheme == "light")


def test_on_a_telephone_tables_scroll_in_their_frames_and_no_column_is_lost(narrow):
    assert narrow.value("document.documentElement.scrollWidth") == 390
    frame = "document.querySelector('.wide')"
    assert narrow.value(f"{frame}.scrollWidth > {frame}.clientWidth + 100")
    assert narrow.value(f"{frame}.querySelectorAll('thead th').length") == 9
    places = f"""(() => {{
      const row = {frame}.querySelector('tbody tr').cells;
      return [row[0], row[row.length - 1]].map((cell) => cell.getBoundingClientRect());
    }})()"""
    inside = f"{places}.map((place) => place.left >= 0 && place.right <= 390)"
    assert narrow.value(inside) == [True, False]
    narrow.value(f"{frame}.scrollLeft = 1000")
    assert narrow.value(inside) == [True, True]  # the name stays beside the last number
    narrow.value(f"{frame}.focus()")
    narrow.press("ArrowRight")
    assert narrow.place() == ("0", "0")  # in a table the key scrolls


def test_on_a_telephone_policies_are_side_by_side_and_the_controls_stay_in_sight(narrow):
    place = "((name) => document.querySelector(name).getBoundingClientRect())"
    tops = "[...document.querySelectorAll('.panel canvas')].map(e => e.getBoundingClientRect().top)"
    assert len(set(narrow.value(tops))) == 1
    assert (
        narrow.value("document.querySelectorAll('.panel')[1].getBoundingClientRect().right") < 390
    )
    narrow.value("document.getElementById('panels').scrollIntoView()")
    narrow.value("window.scrollBy(0, 200)")
    assert narrow.value(f"{place}('#panels').top") < -100
    for control in ("#video", "#back", "#play", "#forward", "#frame", "#where"):
        box = f"{place}('{control}')"
        assert (
            narrow.value(f"[{box}.top >= 0, {box}.bottom < 150, {box}.right <= 390]") == [True] * 3
        )
    on_top = "document.elementFromPoint(...(({x, y}) => [x + 5, y + 5])(%s)).id"
    assert narrow.value(on_top % f"{place}('#forward')") == "forward"


def test_without_javascript_all_but_the_player_is_there_and_the_page_says_so(browser, report):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report)
    shown = browser.value("document.body.innerText")
    images = browser.value("[...document.images].map((image) => image.naturalWidth > 0)")
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert "JavaScript is off, so the player is missing: 5 videos" in shown
    assert "Keys:" not in shown
    assert ".0601" in shown
    assert images == [True] * 4
