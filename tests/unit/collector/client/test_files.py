from __future__ import annotations

import base64
import gzip
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from dispatcher.collector.client import files
from dispatcher.version import __version__

CLIENT = Path(files.__file__).parent
#: What the project promises: queue, retry, ids, locks, consent, Tracker and the Segment calls, compressed.
MAX_TRACKER_BYTES = 5120


def test_the_client_is_as_small_as_promised() -> None:
    served = files.served_files()
    assert len(gzip.compress(served["tracker.js"].body, 9)) <= MAX_TRACKER_BYTES
    assert len(served["stub.js"].body) < 300


def test_the_client_says_which_version_it_is() -> None:
    for name in ("tracker.js", "tracker.mjs", "mfe.mjs"):
        assert f'"version":"{__version__}"'.encode() in files.served_files()[name].body, "run make client"


def test_integrity_and_hash_are_those_of_the_bytes() -> None:
    for file in files.served_files().values():
        digest = hashlib.sha384(file.body).digest()
        assert file.integrity == "sha384-" + base64.b64encode(digest).decode()
        assert file.digest == digest.hex()[:16]


@pytest.mark.parametrize("script_name", ["tracker.js", "t.js"])
def test_a_file_is_found_by_its_name_and_by_its_hash(script_name: str) -> None:
    stem = script_name.removesuffix(".js")
    tracker = files.served_files()["tracker.js"]
    assert files.find(script_name, script_name) == (tracker, False)
    assert files.find(f"{stem}.{tracker.digest}.js", script_name) == (tracker, True)
    assert files.find(f"{stem}.{'0' * 16}.js", script_name) is None
    assert files.find("manifest.json", script_name) is None


def test_only_the_name_with_the_hash_is_kept_for_ever() -> None:
    file = files.served_files()["logger.js"]
    assert "immutable" in file.headers(versioned=True)["cache-control"]
    assert "immutable" not in file.headers(versioned=False)["cache-control"]


def test_a_key_cannot_leave_the_snippet() -> None:
    text = files.snippet('"</script><b>', base="https://c.example.org")
    assert text.count("</script>") == 2
    assert "<b>" not in text
    assert files.served_files()["tracker.js"].integrity in text


def test_dist_is_what_the_sources_give(tmp_path: Path) -> None:
    if not (CLIENT / "node_modules" / ".bin" / "esbuild").exists() or shutil.which("node") is None:
        pytest.skip("esbuild is not installed: `make client` installs it")
    subprocess.run(["node", str(CLIENT / "build.js"), str(tmp_path)], check=True)
    for built in tmp_path.iterdir():
        assert built.read_bytes() == (CLIENT / "dist" / built.name).read_bytes(), f"run make client: {built.name}"
