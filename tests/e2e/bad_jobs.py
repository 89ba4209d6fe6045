#!/usr/bin/env python3
"""Bad job files and bad data: one clear line and exit code 2, whatever they hold."""

import glob
import gzip
import os
import struct

import harness
from harness import check


def check_refused(cluster, path, *words, command="submit", code=2):
    """One line on stderr, nothing on stdout, and every one of `words` in it."""
    result = cluster.call(command, path, seconds=20)
    check(result.code == code, f"{command} {path}: not refused with {code}\n{result}")
    check(result.out == "", f"prints to stdout\n{result}")
    line = result.err
    check(line.endswith("\n") and line.count("\n") == 1, f"not one line\n{result}")
    check(line.startswith("muster: "), f"does not say who speaks\n{result}")
    check(all(ch >= " " and ch != "\x7f" for ch in line[:-1]), f"control characters\n{result}")
    check(len(line) < 1000, f"too long\n{result}")
    for word in words:
        check(word in line, f"does not name {word!r}\n{result}")


def files(cluster):
    """(path, what the message names) of files that are no job files."""
    folder = cluster.directory
    huge = f"{folder}/huge.toml"
    with open(huge, "wb") as file:
        file.write(b'name = "huge"\n')
        file.truncate(100 << 20)
    long = f"{folder}/long.toml"
    with open(long, "wb") as file:
        for _ in range(100):
            file.write(b"# a comment that fills a job file beyond any sense\n" * 20972)
    noise = f"{folder}/noise.toml"
    with open(noise, "wb") as file:
        file.write(bytes((i * 7919 >> 3) & 255 for i in range(20000)))
    locked = f"{folder}/locked.toml"
    with open(locked, "w", encoding="utf-8"):
        pass
    os.chmod(locked, 0)
    fifo = f"{folder}/fifo.toml"
    os.mkfifo(fifo)
    found = [(huge, "huge.toml"), (long, "long.toml"), (noise, "noise.toml"), (folder, folder),
             (f"{folder}/missing.toml", "missing.toml"), ("/dev/zero", "/dev/zero"),
             (fifo, "fifo.toml"), ("", "")]
    return found + ([] if os.geteuid() == 0 else [(locked, "locked.toml")])


def bad_data(cluster, data):
    """(change of a data folder, what the message names): each is told at submit time."""
    images, labels = f"{data}/train-images", f"{data}/train-labels"
    folder = f"{cluster.directory}/bad"
    os.makedirs(folder)
    with open(images, "rb") as file:
        image_bytes = file.read()
    with open(labels, "rb") as file:
        label_bytes = file.read()

    def write(name, content):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(content)
        return f"{folder}/{name}"

    squeezed = gzip.compress(image_bytes)
    wrong_label = bytearray(label_bytes)
    wrong_label[8 + 100] = 77
    return [
        ({"train_images": write("cut.gz", squeezed[:len(squeezed) // 2])}, ["cut.gz", "byte"]),
        ({"train_images": write("flip.gz", squeezed[:900] + bytes([squeezed[900] ^ 255]) +
                                squeezed[901:])}, ["flip.gz"]),
        ({"train_images": write("cut", image_bytes[:-100])}, ["bad/cut", "byte"]),
        ({"train_images": write("more", image_bytes + b"x")}, ["bad/more", "byte"]),
        ({"train_images": write("magic", b"\1" + image_bytes[1:])}, ["bad/magic", "byte 0"]),
        ({"train_images": write("nothing", b"")}, ["bad/nothing"]),
        ({"train_images": write("bomb", struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3))},
         ["bad/bomb"]),
        ({"train_images": write("none", struct.pack(">HBB3I", 0, 8, 3, 0, 12, 12)),
          "train_labels": write("none-labels", struct.pack(">HBBI", 0, 8, 1, 0))}, ["none"]),
        ({"train_labels": write("wrong", bytes(wrong_label))}, ["bad/wrong", "byte 108", "77"]),
        ({"train_labels": write("few", struct.pack(">HBBI", 0, 8, 1, 500) +
                                label_bytes[8:508])}, ["bad/few", "500", "512"]),
        ({"train_images": labels}, ["train-labels"]),
        ({"train_images": folder}, [folder]),
        ({"train_images": f"{folder}/absent"}, ["bad/absent"]),
        ({"test_labels": f"{folder}/absent"}, ["bad/absent"]),
    ]


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster) as cluster:
        corpus = sorted(glob.glob("tests/golden/bad_jobs/*.toml"))
        check(len(corpus) > 30, "no corpus here: run from the repository's root")
        for path in corpus:
            for command in ("submit", "run"):
                check_refused(cluster, path, path, command=command)
        stopwatch.lap(f"{len(corpus)} bad job files by submit and run")
        for path, word in files(cluster):
            check_refused(cluster, path, word)
        stopwatch.lap("huge, binary, missing and special files")
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/job.toml", data)
        with open(path, encoding="utf-8") as file:
            good = file.read().replace("[supervised.data]\n", "[supervised.data]\nclasses = 4\n")
        for change, words in bad_data(cluster, data):
            text = good
            for key, value in change.items():
                name = key.replace("_", "-")
                text = text.replace(f'{key} = "{data}/{name}"', f'{key} = "{value}"')
            check(text != good, "the job did not change")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            check_refused(cluster, path, *words)
            check_refused(cluster, path, *words, command="run")
        stopwatch.lap("bad data files, told before anything runs")
        with open(path, "w", encoding="utf-8") as file:
            file.write(good)
        refused = cluster.call("submit", path)
        check(refused.code == 3, f"a good job and no cluster: {refused}")
        check(not cluster.leftovers(), "processes are left")


if __name__ == "__main__":
    harness.run(__doc__, test)
