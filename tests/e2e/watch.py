#!/usr/bin/env python3
"""`muster watch` on a terminal: it draws, follows the terminal's size, and gives it back."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

import harness
from harness import check

TAKES, GIVES_BACK = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """A command on a terminal of its own, of which it is the foreground."""

    def __init__(self, cluster, words, columns=80, rows=24, **variables):
        self.ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(theirs)
        environment = {**cluster.environment, "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables}

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen([str(word) for word in words], stdin=theirs,
                                      stdout=theirs, stderr=theirs, env=environment,
                                      preexec_fn=own_terminal)
        cluster.children.append(self.child)
        self.theirs, self.text = theirs, ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def resize(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.05):
        while select.select([self.ours], [], [], seconds)[0]:
            self.text += self.decoder.decode(os.read(self.ours, 65536))

    def frames(self):
        """What it has drawn on the whole screen, a list of lines each; the last may be cut off."""
        self.read()
        pieces = self.text.split("\x1b[H")[1:]
        return [[re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", line).rstrip("\r")
                 for line in piece.split("\x1b[J")[0].split("\r\n")]
                for piece in pieces if "\x1b[J" in piece]

    def wait_for(self, what, condition, seconds=30):
        """The newest frame that fulfils the condition; waits for one."""
        return harness.wait_until(what, lambda: next(
            (frame for frame in self.frames()[-1:] if condition(frame)), None), seconds)

    def keys(self, text):
        os.write(self.ours, text.encode())

    def end(self):
        """Waits for the command's end: its exit code, and what it printed after giving back."""
        harness.wait_until("the command has ended",
                           lambda: self.read() or self.child.poll() is not None)
        self.read()
        check(termios.tcgetattr(self.theirs) == self.settings, "the terminal is set otherwise")
        os.close(self.theirs)
        os.close(self.ours)
        return self.child.returncode, self.text.split(GIVES_BACK)[-1]


def dots(frame):
    return sum("\u2800" < c <= "\u28ff" for line in frame for c in line)


def fits(frame, columns, rows):
    return len(frame) <= rows and all(len(line) <= columns for line in frame)


def live(cluster, path):
    """Draws while the job runs, in any size; Ctrl-C leaves the terminal and the job alone."""
    job = cluster.submit(path, "supervised.steps=1000000", "resources.ranks=2")
    terminal = Terminal(cluster, (cluster.muster, "watch", job))
    frame = terminal.wait_for("a curve", lambda frame: dots(frame) > 20 and "RUNNING" in frame[0])
    check(frame[0].startswith(f"job {job} ") and "steps" in frame[0], f"no progress: {frame}")
    check(any(line.startswith("validation/accuracy ") for line in terminal.wait_for(
        "the accuracy", lambda frame: "validation/accuracy" in "".join(frame))), "another metric")
    check(fits(frame, 80, 24) and len(frame) == 24, f"does not fill 80 x 24: {frame}")
    for columns, rows in ((40, 10), (100, 40), (20, 5)):
        terminal.resize(columns, rows)
        terminal.wait_for(f"a curve of {columns} x {rows}", lambda frame: (
            len(frame) == rows and fits(frame, columns, rows) and dots(frame) > 3))
    terminal.resize(80, 24)
    terminal.keys("\x03")
    code, left = terminal.end()
    check(code == 130, f"exit code {code} after Ctrl-C")
    check(terminal.text.count(TAKES) == terminal.text.count(GIVES_BACK) == 1, "not given back")
    check("\x1b[?25h" in terminal.text and "\x1b[?7h" in terminal.text, "the cursor is hidden")
    check(dots(left) > 20 and "detached" in left, f"leaves no curve: {left}")
    check(cluster.show(job)["state"] == "RUNNING", "the job has not been left alone")
    return job


def stops(cluster, job):
    """Ctrl-Z gives the screen back; in the background nothing is drawn; `fg` takes it again."""
    shell = Terminal(cluster, ("bash", "--norc", "-i"), LC_ALL="C", PS1="$ ")
    seen = lambda what: harness.wait_until(what, lambda: shell.read() or what in shell.text)
    shell.keys(f"{cluster.muster} watch {job} --metric train/loss\n")
    frame = shell.wait_for("a curve", lambda frame: "*" in "".join(frame))
    check("".join(frame).isascii(), f"more than the locale shows: {frame}")
    shell.keys("\x1a")
    seen("Stopped")
    check(GIVES_BACK in shell.text.split(TAKES)[1].split("Stopped")[0], "the screen is kept")
    shell.keys("bg; echo behind $?\n")
    seen("behind 0")
    before = len(shell.frames())
    shell.keys("fg\n")
    harness.wait_until("it draws again", lambda: len(shell.frames()) > before)
    shell.keys("\x03")
    seen("detached")
    shell.keys("echo code $?\n")
    seen("code 130")
    check(shell.text.count(TAKES) == shell.text.count(GIVES_BACK) == 2, "taken in the background")
    shell.keys("exit\n")
    shell.end()


def waits_and_restarts(cluster, path, first):
    """A job that waits says why; one that is thrown back to a checkpoint goes on from there."""
    job = cluster.submit(path, "supervised.steps=600", "resources.ranks=2")
    terminal = Terminal(cluster, (cluster.muster, "watch", job, "--metric", "train/loss"),
                        columns=40)
    frame = terminal.wait_for("why it waits", lambda frame: "waits" in " ".join(frame))
    check(fits(frame, 40, 24) and "no metrics yet" in frame, f"a waiting job: {frame}")
    cluster.call("cancel", first, "--wait").ok()
    cluster.wait_for_steps(job, 20)
    check(cluster.kill_ranks(job), "no rank to kill")
    code, left = terminal.end()
    check(code == 0 and dots(left) > 5, f"{code}: {left}")
    check("train/loss" in left and " at step 600" in left and "SUCCEEDED" in left, left)
    return job


def ended(cluster, path, job):
    """A job that has ended is drawn once, without taking the screen."""
    terminal = Terminal(cluster, (cluster.muster, "watch", job, "--metric", "train/loss",
                                  "--metric", "validation/accuracy"), columns=40)
    code, left = terminal.end()
    check(code == 0 and TAKES not in terminal.text, f"{code}: {terminal.text}")
    shown = left.replace("\r", "").split(f"job {job} SUCCEEDED")[0].splitlines()
    check(dots(shown) > 10 and fits(shown, 40, 24), f"does not fit: {shown}")
    check(sum(line.startswith(("train/loss", "validation/acc")) for line in shown) == 2, shown)
    # No terminal: the curve to stdout, all else to stderr.
    done = cluster.call("watch", job, environment={"LC_ALL": "C.UTF-8"}).ok()
    check(done.out.startswith("validation/accuracy ") and dots(done.out) > 10, str(done))
    check("SUCCEEDED" in done.err, str(done))
    wrong = cluster.call("watch", job, "--metric", "train/los")
    check(wrong.code == 2 and "'train/loss'" in wrong.err and "validation/accuracy" in wrong.err,
          str(wrong))
    # Dumb terminals get lines.
    dumb = Terminal(cluster, (cluster.muster, "watch", cluster.submit(path)), TERM="dumb")
    code, left = dumb.end()
    check(code == 0 and TAKES not in dumb.text and "SUCCEEDED" in left, f"{code}: {left}")


def followed_without_terminal(cluster, path):
    job = cluster.submit(path, "supervised.steps=1000000")
    log = f"{cluster.directory}/watch.log"
    child = cluster.start("watch", job, log=log)
    with open(log, encoding="utf-8") as file:
        harness.wait_until("lines with the metric", lambda: "RUNNING" in (
            text := file.seek(0) or file.read()) and "validation/accuracy" in text)
    cluster.call("cancel", job).ok()
    check(child.wait(30) == 6, f"watch of a cancelled job: {child.returncode}")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/watch.toml", data)
        cluster.up()
        job = live(cluster, path)
        stopwatch.lap("a live curve follows the terminal's size; Ctrl-C leaves both alone")
        stops(cluster, job)
        stopwatch.lap("Ctrl-Z and back, in ASCII")
        job = waits_and_restarts(cluster, path, job)
        stopwatch.lap("a job that waits, and is thrown back")
        ended(cluster, path, job)
        followed_without_terminal(cluster, path)
        stopwatch.lap("an ended job, and no terminal")


if __name__ == "__main__":
    harness.run(__doc__, test)
