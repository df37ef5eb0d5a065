#!/usr/bin/env python3
"""manuals.py BIN MANUALS: the flags in the manuals are those that the programs take, as --help lists them, and those that
the completion offers; every command of soloctl, every setting, field and event type has its entry."""
import re
import subprocess
import sys

bin_dir, manuals = sys.argv[1:3]
problems = []


def said(*words):
    return subprocess.run([f"{bin_dir}/{words[0]}", *words[1:]], capture_output=True, text=True, check=True).stdout


def page(name):
    with open(f"{manuals}/{name}.scd", encoding="utf-8") as file:
        text = file.read()
    if re.search(r"^@\w+@$", text, re.M):
        problems.append(f"{name}: a table has not been filled in")
    return text.replace("\\", "")


def section(text, title):
    return re.split(r"^# ", text, flags=re.M)[[part.split("\n")[0] for part in re.split(r"^# ", text, flags=re.M)].index(title)]


def same(what, first, second):
    if first != second:
        problems.append(f"{what}: only one of the two has {' '.join(sorted(first ^ second))}")


flag = r"(?<![\w-])--?[a-z][a-z-]*"


def flags_of_help(text):
    """Where a line begins with them: what stands behind is their meaning."""
    found = set()
    for line in text.split("\n"):
        begins = re.match(r"\s+[(]?((?:log: )?--?[a-z].*)", line)
        if begins:
            listed = re.split(r"\s{3,}", begins.group(1))[0] if not begins.group(1).startswith("log: ") else begins.group(1)
            listed = listed if listed.startswith("log: ") else listed.split(":")[0]
            found |= set(re.findall(flag, listed))
        elif line.startswith("  recoveryd "):
            found |= set(re.findall(flag, re.split(r"\s{3,}", line.strip())[0]))
    return found


def flags_of_options(text):
    """The lines of a page that begin an entry."""
    return {name for line in text.split("\n") if line.lstrip("\t").startswith("*-") for name in re.findall(r"\*(--?[a-z][a-z-]*)\*", line)}


# soloctl: every command by itself, against its help and against what completion offers.
soloctl = page("soloctl.1")
general = flags_of_options(section(soloctl, "FLAGS OF EVERY COMMAND"))
same("soloctl --help, soloctl(1)", flags_of_help(said("soloctl", "--help").split("flags of every command")[1]), general)
entries = {}
for line in section(soloctl, "COMMANDS").split("\n"):
    begins = re.match(r"\*([a-z][a-z -]*)\*", line)
    if begins:
        current = begins.group(1)
        entries[current] = set()
    elif line.startswith("\t*-"):
        entries[current] |= flags_of_options(line)
listed = re.findall(r"^  ([a-z]+(?: [a-z-]+)*) {2,}", said("soloctl", "--help").split("flags of every command")[0] + "\n", re.M)
same("commands of soloctl --help, soloctl(1)", set(listed), set(entries))
if len(entries) < 30:
    problems.append("soloctl(1): there are more commands than that")
for command, flags in entries.items():
    words = command.split(" ")
    text = said("soloctl", *words, "--help").split("flags of every command")[0]
    own = flags_of_help(text.split("\nflags\n")[1]) if "\nflags\n" in text else set()
    same(f"soloctl {command} --help, soloctl(1)", own, flags)
    offered = {line.split("\t")[0].strip() for line in said("soloctl", "complete", "--", *words, "--").split("\n")}
    offered = {name.rstrip("=") for name in offered if name.startswith("--")}
    same(f"completion of soloctl {command}, soloctl(1)", offered, {name for name in flags | general if name.startswith("--")})

# The other two.
common = flags_of_help(said("solod", "--help").split("Keys (")[0])
same("solod --help, solod(8)", common, flags_of_options(section(page("solod.8"), "OPTIONS")))
recoveryd = flags_of_help(said("recoveryd", "--help").split("Keys (")[0])
same("recoveryd --help, recoveryd(8)", recoveryd, flags_of_options(section(page("recoveryd.8"), "OPTIONS")))
if len(common) < 7 or len(recoveryd) < 20:
    problems.append("--help of solod or recoveryd is not read right here")

# What the programs' own tables have.
keys = set(re.findall(r"^  ([a-z_0-9]+) ", said("solod", "--help").split("Keys (")[1], re.M))
same("keys of solod --help, solo.conf(5)", keys, set(re.findall(r"^\*([a-z_0-9]+)\* = ", page("solo.conf.5"), re.M)))
for name, text in (("solo-service(5)", page("solo-service.5")), ("solo-events(7)", page("solo-events.7"))):
    words = re.findall(r"^\*([a-z_.0-9]+)\*(?![(])", text, re.M)
    if len(words) < 20:
        problems.append(f"{name}: there are more entries than {len(words)}")
    for word in words:
        if subprocess.run([f"{bin_dir}/soloctl", "explain", word], capture_output=True, check=False).returncode != 0:
            problems.append(f"{name}: {word} is no word of Solo's")

print("\n".join(problems) if problems else f"the manuals have every flag, of {len(entries)} commands and two programs")
sys.exit(1 if problems else 0)
