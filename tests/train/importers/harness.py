"""Run by the tests in a process of its own: hostile files read under an audit hook, or for real.

`harness.py read FOLDER` reads every file of `hostile` with the importer and prints what came of it
and every audit event meanwhile. `harness.py control FOLDER` gives the gadgets to Python's own
unpickler, which shows that they would work.
"""

import io
import itertools
import json
import os
import pickle
import resource
import sys
import tempfile
from pathlib import Path

import hostile

from rs_runtime.contracts.errors import RefineStyleError
from rs_train.importers import child

_MEMORY = 1536 << 20


def read(folder: Path) -> None:
    """Print {"name", "code", "error", "events"} of every file as JSON."""
    files = list(
        itertools.chain(
            hostile.gadget_files(lambda index: str(folder / f"gadget-{index}")),
            hostile.allow_list_files(str(folder / "allow-list")),
            hostile.bombs(),
        )
    )
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching:
            events.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(watch)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    results = []
    for file in files:
        with tempfile.TemporaryFile() as stream:
            stream.write(file.data)
            stream.flush()
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
            code, text = 0, ""
            watching = True
            try:
                child.read(stream.fileno(), io.BytesIO(), None)
            except RefineStyleError as error:
                code, text = error.exit_code, str(error)
            except MemoryError:
                code = 6
            watching = False
        results.append({"name": file.name, "code": code, "error": text, "events": events[:]})
        results[-1]["expected"] = file.code
        events.clear()
    json.dump(results, sys.stdout)


def control(folder: Path) -> None:
    """Unpickle the gadgets the ordinary way."""
    for index in range(len(hostile.GADGETS)):
        try:
            pickle.loads(hostile.control_pickle(index, str(folder / f"gadget-{index}")))
        except BaseException as error:
            print(index, repr(error), file=sys.stderr)
        os.chdir(folder)


if __name__ == "__main__":
    {"read": read, "control": control}[sys.argv[1]](Path(sys.argv[2]))
