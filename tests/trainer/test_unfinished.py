"""What a killed `lqtse separate` leaves, and that the next one removes that and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.trainer.world import CAPTIONS
from trainer.unfinished import PREFIX, sweep_unfinished, unfinished

RATE = 8000
SECONDS = 120  # of a recording: long beside the time that a worker takes to see that it is alone


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".tmp-*"))


def killed_while_writing(command: list[str], out: Path) -> list[int]:
    """Run, and kill -9 while an output is on its way; the ids of the processes it had."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(6000):
        # Bytes behind the header: it writes, and is not about to begin or to end.
        if any(path.stat().st_size > 100_000 for path in leftovers(out)):
            break
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:  # else a recording may be done before the parent is killed
        child.suspend()
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert leftovers(out)
    for child in children:
        child.resume()
    return [child.pid for child in children]


def test_the_same_command_removes_what_a_killed_one_left(run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.wav", "deep/b.wav"):
        soundfile.write(folder / name, 0.1 * rng.normal(size=SECONDS * RATE), RATE, "PCM_16")
    command = [
        *(sys.executable, "-m", "trainer", "separate", str(run), str(folder)),
        *("--query", CAPTIONS[0], "--out", str(out), "--chunk-seconds", "1", "--device", "cpu"),
        *("--workers", "2"),
    ]
    children = killed_while_writing(command, out)
    assert leftovers(out)
    for _ in range(1000):  # workers of a killed parent end too, and hold no output
        if not any(psutil.pid_exists(child) for child in children):
            break
        time.sleep(0.01)
    assert not any(psutil.pid_exists(child) for child in children)
    mine = out / ".tmp-mine.wav"
    mine.write_bytes(b"of another program")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert leftovers(out) == [mine]
    for name in ("a", "deep/b"):
        (sound,) = (out / name).parent.glob(f"{Path(name).name}-*.wav")
        assert soundfile.info(sound).frames == SECONDS * RATE


def test_what_somebody_is_writing_stays(tmp_path: Path) -> None:
    with unfinished(tmp_path / "sound.wav") as tmp:
        assert tmp.parent == tmp_path and tmp.suffix == ".wav"
        script = (
            "import sys; from pathlib import Path; from trainer.unfinished import sweep_unfinished;"
            "print(sweep_unfinished(Path(sys.argv[1])))"
        )
        found = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == "0"
        assert tmp.exists()
        tmp.replace(tmp_path / "sound.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["sound.wav"]


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), unfinished(tmp_path / "sound.wav"):
        raise RuntimeError
    assert not any(tmp_path.iterdir())


def test_leftovers_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{PREFIX}{number}.wav").touch()
    (tmp_path / "sound.wav").touch()
    assert sweep_unfinished(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["sound.wav"]
