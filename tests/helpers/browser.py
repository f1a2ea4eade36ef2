"""A page in headless Chromium: what a probe in it noted, and what the browser asked of the network."""

import json
import os
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from tests.helpers.tools import require_tool

TIMEOUT_S = 120
# A window of Chromium's is at least 500 pixels wide; a frame may be as narrow as a phone.
FRAME = """<!DOCTYPE html><iframe src="{page}" width="{width}" height="2000"></iframe><script>
addEventListener("message", event => {{
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = event.data;
  document.body.append(note);
}});
</script>"""
CATCH = """<script>
window.seenErrors = [];
addEventListener("error", event => window.seenErrors.push(String(event.message)));
for (const name of ["error", "warn"]) {
  const plain = console[name];
  console[name] = (...words) => { window.seenErrors.push(words.join(" ")); plain(...words); };
}
</script>"""


class Seen(HTMLParser):
    """Finds what the probe noted."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = False
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self._inside = tag == "pre" and ("id", "seen") in attributes

    def handle_data(self, data):
        if self._inside:
            self.text += data


def open_in_browser(page: Path, folder: Path, *arguments: str) -> tuple[dict, str]:
    """Return what the probe noted in a headless browser, and the browser's log of the network."""
    chromium = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    log = folder / "net.json"
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--net-log-capture-mode=Everything",
            "--virtual-time-budget=10000",
            "--dump-dom",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parser = Seen()
    parser.feed(done.stdout)
    assert parser.text, f"the probe did not run: {done.stderr[-2000:]}"
    return json.loads(parser.text), log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
