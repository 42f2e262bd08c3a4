"""The feature store seen from outside, while others write to it."""

import shutil
import threading
from pathlib import Path

from matrixhub.data.cache import shelf_folder, shelves


def test_shelves_are_counted_while_folders_come_and_go(tmp_path: Path) -> None:
    """Another rank writes a segment under a scratch name, and renames it, at any moment."""
    folder = shelf_folder(tmp_path, "ab12")
    (folder / "segment").mkdir(parents=True)
    (folder / "shelf.json").write_text("{}")
    (folder / "segment" / "meta.json").write_text('{"rows": 3}')
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            (folder / ".writing-1" / "segment").mkdir(parents=True)
            shutil.rmtree(folder / ".writing-1")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(2000):
            (one,) = shelves(tmp_path)
            assert (one.num_rows, one.folder) == (3, folder)
    finally:
        done.set()
        other.join()
