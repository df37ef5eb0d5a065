#!/usr/bin/env bash
# solo_in_systemd.sh BUILD: the unit set under a systemd of its own (machine.sh): install, start, deploy, restart each unit
# alone, stop, shut the machine down, cut its power. The same services have to run after each.
set -euo pipefail
build="$1"
. "$(dirname "$(readlink -f "$0")")/machine.sh"
if ! why="$(machine_possible)"; then
    echo "skipped: a machine with systemd cannot be made here: $why"
    exit 77
fi
[ -x "$build/bin/solod" ] || { echo "skipped: there is no release in $build (scripts/up --build-only)"; exit 77; }
machine_make || { echo "skipped: no overlay over / can be mounted here"; exit 77; }
trap machine_end EXIT

fail() {
    echo "solo_in_systemd: $1" >&2
    machine journalctl --no-pager -n 60 >&2 || true
    exit 1
}

# The daemons' pids, one a line: "eventd 81".
daemons() {
    local unit
    for unit in eventd tokend vaultd deployd; do
        echo "$unit $(machine systemctl show -P MainPID "$unit.service")"
    done
}

# TENANT/NAME and pid of every service that runs.
services() {
    machine soloctl get services -o jsonl | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    if row["state"] == "running":
        print(row["tenant"] + "/" + row["name"], row["pid"])' | sort
}
names() { services | cut -d' ' -f1; }

# What `stop` and `start` of a target began is not over when systemctl returns.
settled() {
    local _
    for _ in $(seq 300); do
        [ -n "$(machine systemctl list-jobs --no-legend)" ] || return 0
        sleep 0.1
    done
    fail "systemd does not settle"
}

DESTDIR="$MACHINE_ROOT" cmake -P "$build/cmake_install.cmake" >/dev/null
mkdir -p "$MACHINE_ROOT/etc/systemd/system/multi-user.target.wants"
ln -s /usr/lib/systemd/system/solo.target "$MACHINE_ROOT/etc/systemd/system/multi-user.target.wants/"
machine_boot || fail "the machine does not boot"
settled
[ -z "$(machine systemctl list-units --failed --no-legend --plain | grep -E 'solo|eventd|tokend|vaultd|deployd|recoveryd' || true)" ] ||
    fail "a unit has failed"

for number in 1 2 3 4 5; do
    machine soloctl deploy "acme/s$number" -- /bin/sleep 100000 >/dev/null
done
machine soloctl deploy beta/web -- /bin/sleep 100000 >/dev/null
wanted="$(names)"
[ "$(wc -l <<<"$wanted")" = 6 ] || fail "not every service runs: $wanted"

# Each unit alone: no service notices, the sockets stay, callers wait instead of failing.
before="$(services)"
sockets="$(machine stat -c '%n %i' /run/solo/eventd.sock /run/solo/tokend.sock /run/solo/vaultd.sock /run/solo/deployd.sock)"
for unit in eventd tokend vaultd deployd; do
    old="$(machine systemctl show -P MainPID "$unit.service")"
    machine soloctl daemon restart "$unit" | grep -q "^$unit restarted: pid" &
    machine soloctl get services >/dev/null || fail "a request failed while $unit was restarted"
    wait $! || fail "$unit was not restarted"
    [ "$(machine systemctl show -P MainPID "$unit.service")" != "$old" ] || fail "$unit is the same process"
done
machine systemctl restart recoveryd.service || fail "recoveryd found something to do or to complain about"
[ "$(services)" = "$before" ] || fail "a restart of a daemon changed services"
[ "$(machine stat -c '%n %i' /run/solo/eventd.sock /run/solo/tokend.sock /run/solo/vaultd.sock /run/solo/deployd.sock)" = "$sockets" ] ||
    fail "a restart of a daemon changed sockets"
machine soloctl events -n 100 | grep -q system_shutdown && fail "a restart of one unit began a shutdown"
machine soloctl events -n 4 | grep -q 'checked=6 found=0' || fail "recoveryd does not see the services run"

[ "$(machine soloctl daemon list -o jsonl | grep -c '"state": *"ready"')" = 6 ] || fail "soloctl does not list the units"

# A daemon that dies is started again; a supervisor that dies takes its services along, and they come back.
machine sh -c 'kill -9 $(systemctl show -P MainPID eventd.service deployd.service)'
machine soloctl wait acme/s1 --for ready --timeout 30s >/dev/null || fail "nothing answers after a crash of eventd and deployd"
[ "$(services)" = "$before" ] || fail "a crash of daemons changed services"

# Stop and start of all of it.
machine systemctl stop solo.target
settled
[ -z "$(machine pgrep -f '^/usr/sbin/[a-z]*d( |$)|^/bin/sleep' || true)" ] || fail "something is left after the stop"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "the log was not closed"
machine systemctl start solo.target
settled
[ "$(names)" = "$wanted" ] || fail "the stop lost services"

# A shutdown of the machine, then a power cut.
machine_off
machine_boot || fail "the machine does not boot again"
settled
[ "$(names)" = "$wanted" ] || fail "the reboot lost services"
machine soloctl events -n 40 | grep -q 'system_shutdown_complete.*forced=false' || fail "the reboot was no shutdown in order"
machine soloctl status | grep -q '^Last run *ended in order$' || fail "the status does not say how the last run ended"
machine soloctl kill acme/s5 >/dev/null
wanted="$(grep -v acme/s5 <<<"$wanted")"
machine_cut
machine_boot || fail "the machine does not boot after a power cut"
settled
[ "$(names)" = "$wanted" ] || fail "the power cut changed what runs"
# Its kernel is this machine's and goes on: to the log only the programs died.
machine soloctl status | grep -q '^Last run *crashed$' || fail "the status does not say that the last run was cut off"
echo "the unit set works: 5 services after restarts of every unit, a stop, a reboot and a power cut"
