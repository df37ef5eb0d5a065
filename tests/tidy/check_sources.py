#!/usr/bin/env python3
"""Rules of docs/hacking.md that no compiler checks. check_sources.py ROOT: prints each break as FILE:LINE: RULE and
exits 1 when there is one. Each rule has a test in test_check_sources.py that shows it failing."""

import os
import re
import sys

PROGRAMS = {"eventd", "tokend", "vaultd", "deployd", "tenantd", "recoveryd", "solod", "soloctl"}
WITHOUT_STORES = {"solod", "tenantd", "soloctl"}

# What each library of common/ may include besides itself. routes.h is the one file that is made for programs only.
LOW = {"base"}
WIRE = LOW | {"wire"}
RPC = WIRE | {"rpc"}
API = RPC | {"api"}
LAYERS = {
    "base": set(),
    "wire": LOW, "db": LOW, "secret": LOW, "daemon": LOW,
    "rpc": WIRE,
    "api": RPC,
    "api/records": API | {"db"},
    "spec": API, "plan": API, "outbox": API | {"db"},
    "access": API | {"daemon", "db", "api/records"},
}
EXCEPTIONS = {("common/api/routes.h", "access")}

# Folders that own data, or state what a library answers, say so.
WITH_README = PROGRAMS & {"eventd", "tokend", "vaultd", "deployd", "tenantd"}
LINES_MAX = 650

# A service and its supervisor are one state machine in several files.
WITH_CIRCLES = {"tenantd"}

# Tests that ask the real programs for the pids that they signal: a 0 among them must not reach kill(2).
SIGNALLING = ("tests/integration/", "tests/faults/")

FINDINGS = "common/plan/finding_codes.def"

SKIPPED = {".git", "build", "data", "run"}
SOURCE = re.compile(r"\.(c|h|def)$")
TEXT = re.compile(r"\.(c|h|def|md|txt|cmake|json|py|sh|service|socket|conf|yaml|yml)$|/(up|check|run|install-packages|"
                  r"CMakeLists\.txt|\.clang-format|\.clang-tidy|LICENSE)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
# Written with classes of one letter so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
HOME_PATH = re.compile(r"(?<![\w.~>])/(hom[e]|roo[t]|User[s]|wor[k](?:space)?)/\w")
FOREIGN = re.compile(r"\b(a[s]sistants?|language mode[l]s?|issue #?[0-9]+)\b", re.IGNORECASE)


def library_of(path):
    """common/api/records/x.h -> api/records, common/base/x.h -> base; None outside common/."""
    parts = path.split("/")
    if parts[0] != "common" or len(parts) < 3:
        return None
    return "api/records" if parts[1:3] == ["api", "records"] and len(parts) > 3 else parts[1]


def module_of(path):
    return os.path.splitext(path)[0]


class Checker:
    def __init__(self, root):
        self.root = root
        self.broken = []
        self.files = []
        self.uses = {}  # module (path without its ending) -> {module it includes: where}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders
                                if not (folder == root and name in SKIPPED) and name != "__pycache__")
            self.files += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(names)]

    def report(self, path, line, rule):
        self.broken.append(f"{path}:{line}: {rule}")

    def lines(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read().split("\n")

    def check_include(self, path, number, quote, target):
        exists = os.path.exists(os.path.join(self.root, target))
        if quote == "<":
            if exists and "/" in target:
                self.report(path, number, f'our own {target} is included with "..."')
            return
        if "/" not in target or not exists:
            self.report(path, number, f"{target} is not written from the repository root")
            return
        self.uses.setdefault(module_of(path), {}).setdefault(module_of(target), (path, number))
        own, other = path.split("/")[0], target.split("/")[0]
        if own in ("tests", "bench"):
            return
        library, used = library_of(path), library_of(target)
        if library is not None:
            if used is None:
                self.report(path, number, f"a library includes {target}, which is no library")
            elif used != library and used not in LAYERS.get(library, set()) and (path, used) not in EXCEPTIONS \
                    and not (library == "api" and target == "common/api/records/records.def"):
                self.report(path, number, f"common/{library} may not use common/{used}")
        elif own in PROGRAMS:
            if other in PROGRAMS and other != own:
                self.report(path, number, f"{own} includes a file of {other}")
            if own in WITHOUT_STORES and used in ("db", "api/records"):
                self.report(path, number, f"{own} has no store and may not use common/{used}")
            if other in ("tests", "bench"):
                self.report(path, number, f"a program includes {target}")

    def check_macros(self, path, lines):
        number = 0
        while number < len(lines):
            first, text = number, lines[number]
            while text.endswith("\\") and number + 1 < len(lines):
                number += 1
                text = text[:-1] + " " + lines[number]
            number += 1
            macro = re.match(r"\s*#\s*define\s+(\w+)(\([^)]*\))?(.*)", text)
            # A macro that makes whole functions (routes.h) hides no return from its reader.
            if macro and macro[1] != "TRY" and re.search(r"\breturn\b", macro[3]) and \
                    not re.match(r"\s*static\b.*\)\s*\{", macro[3]):
                self.report(path, first + 1, f"macro {macro[1]} contains a return; only TRY may")

    def check_source(self, path):
        lines = self.lines(path)
        for number, line in enumerate(lines, 1):
            include = INCLUDE.match(line)
            if include:
                self.check_include(path, number, include[1], include[2])
            if path.startswith(SIGNALLING) and re.search(r"(?<![\w.>])kill\(", line):
                self.report(path, number, "kill() can hit the tests' own process group: use process_signal()")
        self.check_macros(path, lines)
        if len(lines) > LINES_MAX and not path.startswith("tests/"):
            self.report(path, len(lines), f"longer than {LINES_MAX} lines: not read in one sitting")

    def check_circles(self):
        """A header and its source are one module. Within a program's folder no module may reach itself by includes."""
        done, way = set(), []

        def visit(module):
            way.append(module)
            for used, (path, number) in sorted(self.uses.get(module, {}).items()):
                if used in way[:-1]:
                    names = " -> ".join(os.path.basename(name) for name in way[way.index(used):] + [used])
                    self.report(path, number, f"includes go in a circle: {names}")
                elif used not in done and used != module and os.path.dirname(used) == os.path.dirname(module):
                    visit(used)
            way.pop()
            done.add(module)

        for module in sorted(self.uses):
            if module.split("/")[0] in PROGRAMS - WITH_CIRCLES and module not in done:
                visit(module)

    def check_words(self, path):
        for number, line in enumerate(self.lines(path), 1):
            if UNFINISHED.search(line):
                self.report(path, number, "says that it is unfinished")
            if HOME_PATH.search(line):
                self.report(path, number, "holds a path of somebody's machine")
            if FOREIGN.search(line):
                self.report(path, number, "speaks of what is no part of the project")

    def check_readmes(self):
        folders = {os.path.dirname(path) for path in self.files if SOURCE.search(path)}
        for folder in sorted(folders):
            needs = folder in WITH_README or (library_of(folder + "/x") is not None)
            if needs and folder + "/README.md" not in self.files:
                self.report(folder, 1, "has no README.md that says what it owns and promises")

    def check_findings(self):
        """What a verification can find is provoked by a test, which then names the code."""
        codes = {}
        for number, line in enumerate(self.lines(FINDINGS) if FINDINGS in self.files else [], 1):
            row = re.match(r"FINDING\((\w+),", line)
            if row:
                codes[row[1]] = number
        named = set()
        for path in self.files:
            if path.startswith("tests/") and path.endswith(".c"):
                named |= set(re.findall(r'FINDING_(\w+)|"(\w+)"', "\n".join(self.lines(path))))
        for code in sorted(codes.keys() - {name for pair in named for name in pair}):
            self.report(FINDINGS, codes[code], f"no test provokes {code}")

    def run(self):
        for path in self.files:
            if SOURCE.search(path):
                self.check_source(path)
            if TEXT.search("/" + path):
                self.check_words(path)
        self.check_circles()
        self.check_readmes()
        self.check_findings()
        return self.broken


def main():
    broken = Checker(os.path.abspath(sys.argv[1])).run()
    print("\n".join(broken) if broken else "every rule holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
