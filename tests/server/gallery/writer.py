"""Run as a program: enrols `count` speakers in a gallery file and prints each as soon as it is answered."""

import sys
from pathlib import Path

import numpy as np

from server.gallery.store import GalleryStore, Space, StoredVoice


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    random = np.random.default_rng(int(sys.argv[4]))
    say("begun")
    sys.stdin.readline()  # all writers begin together, on a file that none of them has made
    store = GalleryStore(path)
    for number in range(count):
        voices = [StoredVoice(random.standard_normal(8).astype(np.float32), 1.0) for _ in range(3)]
        store.enroll("default", f"{name}-{number}", Space("f", "m", 8), voices, number)
        store.enroll("default", "everybody", Space("f", "m", 8), voices[:1], number)
        say(f"{name}-{number}")
    store.close()


if __name__ == "__main__":
    main()
