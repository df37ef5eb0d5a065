#!/usr/bin/env bash
# solo_in_systemd.sh BUILD: the unit set under a systemd of its own (machine.sh): install, start, deploy, restart each unit
# alone, stop, shut the machine down, cut its power. The same services have to run after each.
set -euo pipefail
build="$1"
. "$(dirname "$(readlink -f "$0")")/machine.sh"
solo_machine_make "$build"

mkdir -p "$MACHINE_ROOT/etc/systemd/system/multi-user.target.wants"
ln -s /usr/lib/systemd/system/solo.target "$MACHINE_ROOT/etc/systemd/system/multi-user.target.wants/"
# A recovery that a test can keep from ending.
mkdir -p "$MACHINE_ROOT/etc/systemd/system/recoveryd.service.d"
printf '[Service]\nExecStartPost=/bin/sh -c "while [ -e /run/recovery-goes-on ]; do sleep 0.1; done"\n' \
    >"$MACHINE_ROOT/etc/systemd/system/recoveryd.service.d/slow.conf"
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

# What each says of itself.
for unit in eventd tokend vaultd deployd; do
    says_ready() { [ "$(machine systemctl show -P StatusText "$unit.service")" = ready ]; }
    until_true says_ready
done

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
# A socket alone: its daemon is restarted with it. The end of everything is nobody's unit alone.
for unit in eventd tokend vaultd deployd; do
    machine systemctl restart "$unit.socket" || fail "$unit.socket cannot be restarted"
    machine soloctl get services >/dev/null || fail "nothing answers after $unit.socket was restarted"
done
machine systemctl restart solo-drain.service 2>/dev/null && fail "solo-drain.service is stopped by itself"
[ "$(services)" = "$before" ] || fail "a restart of a socket changed services"
machine soloctl events -n 100 | grep -q system_shutdown && fail "a restart of one unit began a shutdown"
machine soloctl events -n 4 | grep -q 'checked=6 found=0' || fail "recoveryd does not see the services run"

[ "$(machine soloctl daemon list -o jsonl | grep -c '"state": *"ready"')" = 6 ] || fail "soloctl does not list the units"

# A token of a tenant, held by nobody: every daemon, each another user, looks it up by itself, whether tokend runs or not.
holder() { machine setpriv --reuid=65534 --regid=65534 --clear-groups soloctl --token-file /run/held.token "$@"; }
accessor="$(machine soloctl token create -t acme --permission read --ttl 1h --out /run/held.token 2>&1 | grep -o '^tok_[a-z0-9]*')"
machine chown 65534:65534 /run/held.token
machine systemctl kill -s STOP tokend.service
[ "$(holder get services -o jsonl | wc -l)" = 5 ] || fail "a token does not show the services of its tenant, and no others"
holder events -n 1 >/dev/null || fail "eventd does not know a token"
machine systemctl kill -s KILL tokend.service
holder get services >/dev/null || fail "a token is not known while tokend is being restarted"
machine soloctl token renew "$accessor" --ttl 2h | grep -q renewed || fail "a token cannot be renewed"
machine soloctl token revoke "$accessor" >/dev/null
holder get services >/dev/null 2>&1 && fail "deployd believes a token that was revoked"
holder events -n 1 >/dev/null 2>&1 && fail "eventd believes a token that was revoked"

# A daemon that dies is started again; a supervisor that dies takes its services along, and they come back.
machine sh -c 'kill -9 $(systemctl show -P MainPID eventd.service deployd.service)'
machine soloctl wait acme/s1 --for ready --timeout 30s >/dev/null || fail "nothing answers after a crash of eventd and deployd"
[ "$(services)" = "$before" ] || fail "a crash of daemons changed services"

# Stop and start of all of it.
machine systemctl stop solo.target
settled
nothing_runs || fail "something is left after the stop"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "the log was not closed"
machine systemctl start solo.target
settled
[ "$(names)" = "$wanted" ] || fail "the stop lost services"

# A start that overtakes the stop: what was drained begins again.
machine sh -c 'systemctl stop solo.target; systemctl start solo.target'
settled
until_true machine soloctl status --check
[ "$(names)" = "$wanted" ] || fail "a start right behind a stop leaves services stopped"
# The run goes on: eventd's restart does not end it in the log.
machine systemctl restart eventd.service
machine soloctl events -n 1 | grep -q system_shutdown_complete && fail "a restart of eventd ended a run that goes on"

# A stop in the middle of a recovery, which has started everything and does not end.
machine systemctl stop solo.target
settled
machine touch /run/recovery-goes-on
machine systemctl start --no-block solo.target
is_recovering() { [ "$(machine systemctl is-active recoveryd.service)" = activating ] && [ "$(machine pgrep -fc '^/bin/sleep 100000')" = 6 ]; }
until_true is_recovering
machine systemctl stop solo.target
settled
nothing_runs || fail "what a recovery had started goes on after the stop"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "a stop in the middle of a recovery did not close the log"
machine rm /run/recovery-goes-on
machine systemctl start solo.target
settled
[ "$(names)" = "$wanted" ] || fail "a stop in the middle of a recovery lost services"

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
