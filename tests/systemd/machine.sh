# shellcheck shell=bash
# Sourced: a machine of its own for a test of units and packages. systemd becomes PID 1 of fresh pid, mount, cgroup, uts,
# ipc and net namespaces; its root is an overlay over this machine's root, what it writes stays in memory and survives
# its reboots. Needs root, a mounted cgroup v2 tree and overlayfs.
#
#   machine_possible            says on stdout why it cannot be, and fails then
#   machine_make                once; MACHINE_ROOT is then its root, to put files into
#   machine_boot                ready when systemd has started everything
#   machine COMMAND...          runs a command in it
#   machine_off                 a shutdown in order
#   machine_cut                 the power goes
#   machine_end                 forgets it
#
# And what tests of Solo in it have in common:
#
#   solo_machine_make BUILD     a machine with the release of BUILD installed, forgotten at exit; skips the test (77) where there
#                               can be none
#   fail MESSAGE                ends the test with the units and the journal
#   until_true COMMAND...       asks until it is so, at most 60 s
#   settled                     what `stop` and `start` of a target began is not over when systemctl returns: waits for it
#   services, names, pid_of     TENANT/NAME and pid of every service that runs; the names alone; one pid
#   nothing_runs                whether none of our programs is there, nor any service that sleeps

machine_cgroups="$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)"
machine_outer=

machine_possible() {
    [ "$(id -u)" = 0 ] || { echo "needs root"; return 1; }
    [ -x /lib/systemd/systemd ] || { echo "needs the package systemd"; return 1; }
    [ -n "$machine_cgroups" ] || { echo "needs a mounted cgroup v2 tree"; return 1; }
    unshare --mount --pid --fork --cgroup --uts --ipc --net true 2>/dev/null || { echo "needs namespaces"; return 1; }
    grep -q overlay /proc/filesystems || { echo "needs overlayfs"; return 1; }
}

machine_make() {
    machine_scratch="$(mktemp -d /tmp/solo-machine-XXXXXX)"
    machine_leader=
    machine_outer=
    mount -t tmpfs -o mode=755 tmpfs "$machine_scratch"
    mkdir "$machine_scratch"/{upper,work,root}
    MACHINE_ROOT="$machine_scratch/root"
    mount -t overlay -o "lowerdir=/,upperdir=$machine_scratch/upper,workdir=$machine_scratch/work" overlay "$MACHINE_ROOT" ||
        return 1
    # Nothing of what this machine runs starts there.
    rm -rf "$MACHINE_ROOT"/etc/systemd/system "$MACHINE_ROOT"/var/log/journal "$MACHINE_ROOT"/var/lib/solo \
        "$MACHINE_ROOT"/etc/solo "$MACHINE_ROOT"/etc/fstab
    mkdir -p "$MACHINE_ROOT/etc/systemd/system" "$MACHINE_ROOT/var/log/journal"
    local unit
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-logind.service systemd-networkd.service \
        systemd-resolved.service getty.target systemd-timesyncd.service dbus.service dbus.socket \
        systemd-journal-catalog-update.service systemd-update-utmp.service systemd-user-sessions.service \
        ldconfig.service systemd-update-utmp-runlevel.service systemd-hwdb-update.service e2scrub_reap.service; do
        ln -s /dev/null "$MACHINE_ROOT/etc/systemd/system/$unit"
    done
    ln -s /lib/systemd/system/multi-user.target "$MACHINE_ROOT/etc/systemd/system/default.target"
    cat >"$machine_scratch/begin" <<'BEGIN'
#!/bin/sh
# Turns ROOT into the root and becomes systemd. /sys and /proc/sys are the host's: read-only.
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
hostname solo-machine
cd "$root"
mkdir -p run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old
# Credentials reach a service by propagation; in a container systemd leaves this to who made it.
mount --make-rshared /
exec env -i container=solo-machine PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --show-status=0 --log-target=journal </dev/null >/dev/null 2>&1
BEGIN
    chmod 755 "$machine_scratch/begin"
}

machine_boot() {
    # A cgroup of its own: the root of the machine's tree.
    machine_group="$machine_cgroups/solo-machine-$$"
    mkdir -p "$machine_group"
    sh -c "echo \$\$ >'$machine_group/cgroup.procs' &&
        exec unshare --mount --pid --fork --cgroup --uts --ipc --net '$machine_scratch/begin' '$MACHINE_ROOT'" </dev/null >/dev/null 2>&1 &
    machine_outer=$!
    local _ state
    for _ in $(seq 900); do
        sleep 0.1
        kill -0 "$machine_outer" 2>/dev/null || return 1
        machine_leader="$(tr -d ' ' 2>/dev/null <"/proc/$machine_outer/task/$machine_outer/children" || true)"
        [ "$(cat "/proc/${machine_leader:-none}/comm" 2>/dev/null)" = systemd ] || continue
        # "degraded" is a matter of the host's units, not of ours.
        state="$(machine timeout 5 systemctl is-system-running 2>/dev/null || true)"
        [ "$state" != running ] && [ "$state" != degraded ] || return 0
    done
    return 1
}

machine() {
    nsenter -t "$machine_leader" --all env -i HOME=/root USER=root LANG=C.UTF-8 TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

machine_gone() {
    wait "$machine_outer" 2>/dev/null || true
    machine_outer=
    local _
    for _ in $(seq 100); do
        find "$machine_group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$machine_group" ] || return 0
        sleep 0.1
    done
}

machine_off() {
    # poweroff in a namespace ends PID 1.
    machine systemctl poweroff >/dev/null 2>&1
    machine_gone
}

machine_cut() {
    [ -z "$machine_outer" ] || kill -9 "$machine_leader" 2>/dev/null || true
    [ -z "$machine_outer" ] || machine_gone
}

machine_end() {
    machine_cut
    umount -l "$MACHINE_ROOT" 2>/dev/null || true
    umount -l "$machine_scratch" 2>/dev/null || true
    rmdir "$machine_scratch" 2>/dev/null || true
}

skip() {
    echo "skipped: $1"
    exit 77
}

fail() {
    echo "$(basename "$0" .sh): $1" >&2
    machine systemctl --no-pager status eventd deployd solo recoveryd >&2 || true
    machine journalctl --no-pager -n 60 >&2 || true
    exit 1
}

# Without a release it is made, and empty: a package's test installs its own.
machine_or_skip() {
    local why
    why="$(machine_possible)" || skip "a machine with systemd cannot be made here: $why"
    machine_make || skip "no overlay over / can be mounted here"
    trap machine_end EXIT
}

solo_machine_make() {
    [ -x "$1/bin/solod" ] || skip "there is no release in $1 (scripts/up --build-only)"
    machine_or_skip
    DESTDIR="$MACHINE_ROOT" cmake -P "$1/cmake_install.cmake" >/dev/null
}

until_true() {
    local _
    for _ in $(seq 600); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "it does not come true: $*"
}

no_jobs() { [ -z "$(machine systemctl list-jobs --no-legend)" ]; }
settled() { until_true no_jobs; }

services() {
    machine soloctl get services -o jsonl | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    if row["state"] == "running":
        print(row["tenant"] + "/" + row["name"], row["pid"])' | sort
}
names() { services | cut -d' ' -f1; }
pid_of() { services | sed -n "s#^$1 ##p"; }

nothing_runs() { ! machine pgrep -f '^/usr/sbin/(solo|event|token|vault|deploy|tenant|recovery)d( |$)|sleep 100000'; }
