"""What a page does with the broker that it came from: browser_checks.py HOST:PORT CHROMIUM."""

import base64
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

from websockets.sync.client import connect

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "Protocol" / "python"))

import frames  # noqa: E402

PATIENCE = 30
OPEN = contextlib.ExitStack()
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--remote-debugging-port=0",
]

STREAM = """
(async () => {
  const put = await fetch("/v1/topics/page/events", {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify([1, 2, 3, 4, 5].map(n => ({payload: "event " + n}))),
  });
  const taken = await put.json();
  return await new Promise((done, fail) => {
    const seen = [];
    const source = new EventSource("/v1/topics/page/stream?demand=2&from=first");
    source.onerror = () => fail(new Error("the stream broke after " + seen.length));
    source.onmessage = event => {
      seen.push([event.lastEventId, JSON.parse(event.data).payload]);
      if (seen.length === taken.count) { source.close(); done(seen); }
    };
  });
})()
"""

# Says what Python made, publishes once that is answered by two frames, and gives back all that came
# once there are three.
SOCKET = """
new Promise((done, fail) => {
  const said = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
  const socket = new WebSocket("ws://" + location.host + "/v1/ws", "sluice.v1");
  socket.binaryType = "arraybuffer";
  let heard = new Uint8Array(0);
  const frames = () => {
    let count = 0;
    for (let at = 0; at + 9 <= heard.length; count += 1) {
      at += 9 + (heard[at] << 16 | heard[at + 1] << 8 | heard[at + 2]);
      if (at > heard.length) break;
    }
    return count;
  };
  socket.onopen = () => socket.send(said);
  socket.onerror = () => fail(new Error("the socket broke after " + heard.length));
  socket.onmessage = event => {
    const part = new Uint8Array(event.data);
    const both = new Uint8Array(heard.length + part.length);
    both.set(heard);
    both.set(part, heard.length);
    heard = both;
    if (frames() === 2) {
      const events = ["a", "b", "c"].map(text => JSON.stringify({payload: text})).join("\\n");
      const headers = {"content-type": "application/x-ndjson"};
      fetch("/v1/topics/page/events", {method: "POST", headers, body: events}).catch(fail);
    }
    if (frames() < 3) return;
    socket.close();
    done(btoa(String.fromCharCode(...heard)));
  };
})
"""


def wait_for(find):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        # A page that is being left answers with an error.
        with contextlib.suppress(OSError, ValueError, StopIteration, AssertionError):
            if found := find():
                return found
        time.sleep(0.05)
    raise AssertionError("the browser did not come up")


class Page:
    """A tab, by the protocol of the browser's own tools."""

    def __init__(self, folder: pathlib.Path):
        port = wait_for(lambda: int((folder / "DevToolsActivePort").read_text().split()[0]))

        def tab():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                return next(tab for tab in json.load(answer) if tab["type"] == "page")

        address = wait_for(tab)["webSocketDebuggerUrl"]
        self.tools = OPEN.enter_context(connect(address, compression=None, max_size=None))
        self.last = 0

    def call(self, method: str, **words):
        self.last += 1
        self.tools.send(json.dumps({"id": self.last, "method": method, "params": words}))
        while True:
            answer = json.loads(self.tools.recv(timeout=PATIENCE))
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str):
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, url: str):
        self.call("Page.navigate", url=url)
        there = f"location.href === '{url}' && document.readyState === 'complete'"
        wait_for(lambda: self.run(there))


def frame(type: int, link: int, **fields) -> bytes:
    return frames.encode(frames.Frame(type, link, 0, fields))


def check_stream(page: Page):
    seen = page.run(STREAM)
    assert seen == [[str(n), f"event {n + 1}"] for n in range(5)], seen


def check_socket(page: Page):
    hello = frame(frames.HELLO, 0, keepalive_s=10, session=b"", name="page")
    options = frames.options(group="socket", demand=(3, 0))
    ask = frame(frames.OPEN, 1, role=frames.SINK, topic="page", options=options)
    said = base64.b64encode(hello + ask).decode()
    heard = base64.b64decode(page.run(SOCKET % said))
    types, payloads = [], []
    while heard:
        length, type, flags, link = frames.read_header(heard[: frames.HEADER_BYTES])
        end = frames.HEADER_BYTES + length
        found = frames.decode(type, flags, link, heard[frames.HEADER_BYTES : end])
        heard = heard[end:]
        types.append(frames.TYPE_NAMES[type])
        if type == frames.EVENTS:
            payloads += [event.payload for run in found.runs for event in run.events(1)]
    assert types == ["WELCOME", "OPENED", "EVENTS"], types
    assert payloads == [b"a", b"b", b"c"], payloads


def main(host: str, chromium: str):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            page = Page(pathlib.Path(folder))
            page.open(f"http://{host}/livez")
            check_stream(page)
            check_socket(page)
        finally:
            OPEN.close()
            browser.terminate()
            browser.wait(10)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
