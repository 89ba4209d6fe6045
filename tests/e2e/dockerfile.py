"""Reads what of a Dockerfile and a .dockerignore this repository uses."""

import re
import shlex
import subprocess


class Stage:
    """One FROM: its image, its name, and its instructions as (word, rest)."""

    def __init__(self, image, name):
        self.image, self.name, self.steps = image, name, []

    def packages(self):
        """What its RUN lines install with apt-get, by name."""
        found = []
        for word, rest in self.steps:
            for command in re.split(r"&&|;|\|\|", rest) if word == "RUN" else []:
                words = shlex.split(command)
                while words and "=" in words[0]:
                    words = words[1:]
                if words[:1] == ["apt-get"] and "install" in words:
                    found += [one for one in words[words.index("install") + 1:] if one[0] != "-"]
        return found


def read(path):
    """The stages in order. A word that is not known is a ValueError."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    stages = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stages.append(Stage(image, name or str(len(stages))))
        elif word in ("RUN", "COPY", "USER", "ENV", "WORKDIR", "VOLUME", "EXPOSE", "ENTRYPOINT",
                      "CMD"):
            stages[-1].steps.append((word, rest.strip()))
        else:
            raise ValueError(f"{path}: {word} is not known here")
    return stages


def copy_words(rest):
    """(stage or None, sources, destination) of a COPY."""
    words = shlex.split(rest)
    stage = None
    while words[0].startswith("--"):
        name, _, value = words.pop(0).partition("=")
        if name != "--from":
            raise ValueError(f"COPY {name} is not known here")
        stage = value
    return stage, words[:-1], words[-1]


def context_files():
    """What `COPY .` brings from a checkout: that .dockerignore leaves out only what git ignores
    or keeps for itself is checked by deploy.py."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard"], capture_output=True, check=True)
    return [name for name in listed.stdout.decode().split("\0") if name]
