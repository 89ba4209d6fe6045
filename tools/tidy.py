#!/usr/bin/env python3
"""Checks what the compiler cannot: layers, leftover markers, and words that do not belong here."""
import pathlib
import re
import subprocess
import sys

# The architecture, executable: each folder (longest match first) and the folders it may include.
COMPUTE = {"base", "envs", "tensor", "nn", "collectives", "trainer", "bench"}
MAY_INCLUDE = {
    "base": set(),
    "envs": {"base"},
    "tensor": {"base"},
    "collectives": {"base", "tensor"},
    "nn": {"base", "tensor"},
    "trainer": {"base", "envs", "tensor", "nn", "collectives"},
    "wire": {"base", "proto"},
    "http": {"base"},
    "coordinator/scheduler": {"base"},
    "coordinator": {"base", "proto", "wire", "http"},
    "worker/agent": {"base", "proto", "wire", "http"},
    "worker": COMPUTE | {"proto", "wire", "http"},
    "cli/main.cpp": COMPUTE | {"proto", "wire", "coordinator", "worker", "cli"},
    "cli": {"base", "proto", "wire"},
}
GENERATED = {"muster": "proto"}  # "muster/v1/job.pb.h" comes from proto/.
# Where time and chance may only enter as parameters, so that a simulation can drive the code.
PURE = ("coordinator/scheduler/",)
IMPURE = re.compile(r"_clock::now|std::rand|random_device|sleep|std::thread|std::mutex|unordered_")
MARKER = re.compile("FIX" + "ME|DO NOT " + "MERGE|TO" + "DO")
# The repository stands alone: nothing of the place where it is written.
FOREIGN = re.compile(r"\.\./shared|/work/|[.]library|pypi\.org|deb\.debian\.org|subagent|bash_jobs")
LINES_MAX = 600


def rule_of(path: str):
    fits = [f for f in MAY_INCLUDE if path == f or path.startswith(f + "/")]
    return max(fits, key=len, default=None)


def code_problems(path: str, lines):
    rule = rule_of(path)
    root = path.split("/")[0]
    for number, line in enumerate(lines, 1):
        if rule and (found := re.match(r'#include "((\w+)/[^"]*)"', line)):
            target = GENERATED.get(found[2], found[2])
            inner = rule_of(found[1])
            own = inner == rule or (target == root and inner != "worker/agent" and "/" not in rule)
            if not own and target not in MAY_INCLUDE[rule] and inner not in MAY_INCLUDE[rule]:
                yield f"{path}:{number}: {rule} may not include {found[1]}"
        if path.startswith(PURE) and IMPURE.search(line):
            yield f"{path}:{number}: time, chance and threads enter the scheduler as parameters only"
    if len(lines) > LINES_MAX:
        yield f"{path}: {len(lines)} lines; split it (the most is {LINES_MAX})"


def problems(path: str):
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except UnicodeDecodeError:
        return
    if path.endswith((".h", ".cpp", ".cu", ".cuh")):
        yield from code_problems(path, lines)
    if path == "tools/tidy.py":
        return
    for number, line in enumerate(lines, 1):
        if MARKER.search(line):
            yield f"{path}:{number}: leftover marker"
        if FOREIGN.search(line):
            yield f"{path}:{number}: speaks of a place outside the repository"


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True)
    files = listed.stdout.splitlines() if listed.returncode == 0 else [
        str(p) for p in pathlib.Path(".").rglob("*") if p.is_file() and p.parts[0] != "build"]
    found = [p for f in files if pathlib.Path(f).is_file() for p in problems(f)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
