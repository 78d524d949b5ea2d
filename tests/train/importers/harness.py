"""Run by the tests in a process of its own: hostile files read under an audit hook, or for real.

`harness.py read FOLDER` reads every file of `hostile` and `bombs` with the importer and prints what
came of it and every audit event meanwhile. `harness.py mutants FOLDER COUNT` does so with random
changes of the files in the folder. `harness.py control FOLDER` gives the gadgets to Python's own
unpickler, which shows that they would work.
"""

import collections
import io
import itertools
import json
import os
import pickle
import random
import resource
import sys
import tempfile
from pathlib import Path

from rs_runtime.contracts.errors import RefineStyleError
from rs_train.importers import child
from tests.train.importers import bombs, hostile

_MEMORY = 1536 << 20


class Watched:
    """Reads files as the importer's process does, and keeps the audit events meanwhile."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._watching = False
        sys.addaudithook(self._hook)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        # Some CPythons report a bytearray that ends early through a hook; no file's code does so.
        is_own = event == "sys.excepthook" and arguments[1] is SystemError
        if self._watching and not is_own:
            self.events.append(f"{event} {arguments!r}"[:200])

    def read(self, data: bytes) -> tuple[int, str, list[str]]:
        """Exit code, message and events; code 0 if the file is taken for a checkpoint."""
        self.events = []
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
            code, text = 0, ""
            self._watching = True
            try:
                child.read(stream.fileno(), io.BytesIO(), None)
            except RefineStyleError as error:
                code, text = error.exit_code, str(error)
            except MemoryError:
                code = 6
            except Exception as error:  # the importer calls them damage
                code, text = 3, repr(error)
            self._watching = False
        return code, text, self.events


def read(folder: Path) -> None:
    """Print {"name", "expected", "code", "error", "events"} of every file as JSON."""
    files = itertools.chain(
        hostile.gadget_files(lambda index: str(folder / f"gadget-{index}")),
        hostile.allow_list_files(str(folder / "allow-list")),
        bombs.bombs(),
    )
    files, watched, results = list(files), Watched(), []
    for file in files:
        code, text, events = watched.read(file.data)
        found = {"name": file.name, "expected": file.code, "code": code, "error": text}
        results.append(found | {"events": events})
    json.dump(results, sys.stdout)


def mutants(folder: Path, count: str) -> None:
    """Print how many mutants ended with each code, and the events of all, as JSON."""
    bases = [path.read_bytes() for path in sorted(folder.iterdir())]
    rng, watched = random.Random(0), Watched()
    codes, seen = collections.Counter(), []
    for index in range(int(count)):
        code, _, events = watched.read(mutate(bases[index % len(bases)], rng))
        codes[code] += 1
        seen += events
    json.dump({"codes": codes, "events": seen}, sys.stdout)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, cut the end off, or move a piece."""
    changed = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 1:
        start = rng.randrange(len(changed))
        piece = changed[start : start + rng.randrange(1, 64)]
        place = rng.randrange(len(changed))
        changed[place:place] = piece
    for _ in range(rng.randrange(1, 6) if kind > 1 else 0):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x28, 0x2E, 0x52, 0x63, 0x80, 255))
    return bytes(changed)


def control(folder: Path) -> None:
    """Unpickle the gadgets the ordinary way."""
    for index in range(len(hostile.GADGETS)):
        try:
            pickle.loads(hostile.control_pickle(index, str(folder / f"gadget-{index}")))
        except BaseException as error:
            print(index, repr(error), file=sys.stderr)
        os.chdir(folder)


if __name__ == "__main__":
    modes = {"read": read, "mutants": mutants, "control": control}
    modes[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
