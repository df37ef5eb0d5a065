#!/usr/bin/env bash
# solo_in_trouble.sh BUILD: what the unit set does when something is wrong, under a systemd of its own (machine.sh): logs in the
# journal, a reload, secrets inside the sandbox, the periodic verification, a daemon that hangs, a damaged store, starts that take
# long; and solo.service in place of the set.
set -euo pipefail
build="$1"
. "$(dirname "$(readlink -f "$0")")/machine.sh"
solo_machine_make "$build"

# A watchdog that a test can wait for.
mkdir -p "$MACHINE_ROOT/etc/systemd/system/eventd.service.d"
printf '[Service]\nWatchdogSec=2s\n' >"$MACHINE_ROOT/etc/systemd/system/eventd.service.d/watchdog.conf"
machine_boot || fail "the machine does not boot"
machine systemctl start solo.target
until_true machine soloctl status --check

# A secret reaches its service through everybody's sandbox.
machine sh -c 'printf swordfish | soloctl secret set acme/db >/dev/null'
machine soloctl deploy acme/reader --secret db --wait -- sh -c 'cat "$CREDENTIALS_DIRECTORY/db" >got; exec sleep 100000' >/dev/null ||
    fail "a service with a secret does not start"
until_true machine grep -qx swordfish /var/lib/solo/tenants/acme/reader/got
pid="$(pid_of acme/reader)"

# It runs in a cgroup of its own, as its supervisor does, below the one that is delegated to us, not below deployd's, which can be
# started again so; where there are controllers, with its limits, also after that.
tenants=/sys/fs/cgroup/system.slice/solo-tenants.service
group="$(machine sed -n 's/^0:://p' "/proc/$pid/cgroup")"
case "/sys/fs/cgroup$group" in
"$tenants"/solo-*/t-acme/s-reader) ;;
*) fail "the service is in the cgroup $group" ;;
esac
has_controllers=no
! machine grep -qw memory "$tenants/cgroup.controllers" || has_controllers=yes
if [ $has_controllers = yes ]; then
    machine sh -c 'echo "{\"tenant\": \"acme\", \"name\": \"small\", \"argv\": [\"sleep\", \"100000\"], \"limits\": {\"memory\": \"32MiB\"}}" | soloctl apply -f - >/dev/null'
    small="$(machine sed -n 's/^0:://p' "/proc/$(pid_of acme/small)/cgroup")"
fi
supervisor="$(machine pgrep -f '^/usr/sbin/tenantd')"
for _ in 1 2; do
    [ "$(machine sed -n 's/^0:://p' "/proc/$supervisor/cgroup")" = /system.slice/solo-tenants.service/supervisors ] ||
        fail "the supervisor is not in the delegated cgroup"
    [ "$(machine cat /sys/fs/cgroup/system.slice/deployd.service/cgroup.procs)" = "$(machine systemctl show -P MainPID deployd.service)" ] ||
        fail "there is more than deployd in its cgroup"
    [ $has_controllers = no ] || [ "$(machine cat "/sys/fs/cgroup$small/memory.max")" = 33554432 ] || fail "its memory is not bounded by its cgroup"
    machine systemctl restart deployd.service
    [ "$(pid_of acme/reader)" = "$pid" ] || fail "a restart of deployd changed a service"
done
machine systemctl stop solo-tenants.service 2>/dev/null && fail "the place of what runs is taken away"

# The journal has fields, and no line of ours begins with a second time.
machine journalctl --no-pager -o json -u deployd.service SOLO_RUN=new | grep -q '"PRIORITY":"6"' || fail "the journal has no fields of deployd"
machine journalctl --no-pager -o json -u solo-tenants.service PRIORITY=6 | grep -q 'program=tenantd' || fail "lines of a supervisor have no priority"
machine journalctl --no-pager -o cat -u eventd.service | grep -qE '^<|^20[0-9]{2}-.* level=' && fail "eventd's records are lines"

# A reload takes LIVE settings over.
machine sh -c 'echo "log_level = debug" >>/etc/solo/solo.conf'
old="$(machine systemctl show -P MainPID eventd.service)"
machine systemctl reload eventd.service tokend.service vaultd.service deployd.service
for daemon in eventd tokend vaultd deployd; do
    until_true machine sh -c "journalctl --no-pager -o cat -u $daemon.service SOLO_KEY=log_level | grep -q 'setting changed'"
done
[ "$(machine systemctl show -P MainPID eventd.service)" = "$old" ] || fail "a reload was a restart"

# The periodic verification, as its timer starts it.
[ "$(machine systemctl is-active solo-verify.timer)" = active ] || fail "nobody verifies"
machine systemctl start solo-verify.service || fail "the verification finds something"
machine soloctl status | grep -q '^Verified .* 1 service, 0 inconsistencies$' || fail "the status does not show the verification"
machine systemctl restart deployd.service
machine soloctl status -o json | grep -q '"found": *0' || fail "a restart of deployd forgets the verification"

# One that hangs is killed and started again; requests wait, services go on.
machine kill -STOP "$old"
machine soloctl get events -n 1 >/dev/null & asker=$!
was_restarted() { [ "$(machine systemctl show -P NRestarts eventd.service)" -ge 1 ]; }
until_true was_restarted
wait $asker || fail "a request fails while eventd hangs"
[ "$(pid_of acme/reader)" = "$pid" ] || fail "a service noticed that eventd hung"

# A deployd that is away or hangs at the end is not waited for: its services end in order without it, the log is closed, and the
# next start is another run.
machine soloctl deploy acme/polite -- sh -c 'trap "echo >>told; exit 0" TERM; while :; do sleep 0.05; done' >/dev/null
runs=1
for how in KILL STOP; do
    machine sh -c 'kill -'$how' $(systemctl show -P MainPID deployd.service)'
    machine systemctl stop solo.target
    settled
    nothing_runs || fail "something is left after a stop with a deployd that got SIG$how"
    machine recoveryd log -n 1 | grep -q 'system_shutdown_complete.*"forced": true' || fail "a deployd that got SIG$how kept the log open"
    [ "$(machine cat /var/lib/solo/tenants/acme/polite/told | wc -l)" = $runs ] || fail "without deployd a service was killed without being asked"
    machine systemctl reset-failed
    machine systemctl start solo.target
    until_true machine soloctl status --check
    runs=$((runs + 1))
    [ "$(machine recoveryd log --type system_started | grep -c system_started)" = $runs ] || fail "the run before goes on"
done

# An eventd that hangs at the end is killed, and the log closed behind it.
machine sh -c 'kill -STOP $(systemctl show -P MainPID eventd.service)'
machine systemctl stop solo.target
settled
nothing_runs || fail "something is left after a stop with an eventd that hung"
machine recoveryd log -n 1 | grep -q 'system_shutdown_complete.*"forced": true' || fail "an eventd that hung kept the log open"
machine systemctl reset-failed
machine systemctl start solo.target
until_true machine soloctl status --check
machine soloctl kill acme/polite >/dev/null

# A mistake in solo.conf waits for a person, and nobody waits for Solo then.
machine systemctl stop solo.target eventd.socket
machine cp /etc/solo/solo.conf /run/solo.conf
machine sh -c 'echo "no_such_key = 1" >>/etc/solo/solo.conf'
machine timeout 60 systemctl start solo.target || fail "a start with a mistake in solo.conf does not return"
[ "$(machine systemctl show -P NRestarts eventd.service)" = 0 ] || fail "eventd is started over and over with a mistake in solo.conf"
machine cp /run/solo.conf /etc/solo/solo.conf
machine systemctl restart solo.target
until_true machine soloctl status --check
pid="$(pid_of acme/reader)"

# A damaged store: eventd stays, says so, and is not started over and over by whoever waits for it.
machine systemctl stop eventd.service
machine sh -c 'cp -a /var/lib/solo/events /var/lib/solo/events.whole
    dd if=/dev/urandom of=/var/lib/solo/events/data.mdb bs=4096 count=64 conv=notrunc 2>/dev/null'
for _ in 1 2 3; do
    machine soloctl events -n 1 >/dev/null 2>&1 && fail "a damaged log is served"
done
[ "$(machine systemctl is-active eventd.service)" = active ] || fail "eventd does not stay with a damaged store"
machine systemctl show -P StatusText eventd.service | grep -q damaged || fail "its status does not say that the store is damaged"
old="$(machine systemctl show -P MainPID eventd.service)"
sleep 1
[ "$(machine systemctl show -P MainPID eventd.service)" = "$old" ] || fail "eventd is in a restart loop"
[ "$(machine cat /proc/"$pid"/comm)" = sleep ] || fail "a service noticed the damage"
machine sh -c 'systemctl stop eventd.service
    rm -r /var/lib/solo/events && mv /var/lib/solo/events.whole /var/lib/solo/events'
machine systemctl start eventd.service
until_true machine soloctl get events -n 1
machine systemctl restart deployd.service
until_true machine soloctl status --check
[ "$(pid_of acme/reader)" = "$pid" ] || fail "the way back from damage stopped a service"

# A deployd that dies while it drains keeps nobody from stopping; each service has its grace.
machine soloctl deploy acme/stubborn -- sh -c 'trap "" TERM; while :; do sleep 1; done' >/dev/null
machine systemctl stop --no-block solo.target
sleep 1
machine sh -c 'kill -9 "$(systemctl show -P MainPID deployd.service)"' 2>/dev/null || true
settled
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "a deployd that dies in its drain leaves the log open"

# What keeps a daemon from being tried keeps its socket away: nobody waits for it, and nothing is tried without end.
machine touch /var/lib/solo/restore.unfinished
machine timeout 60 systemctl start solo.target 2>/dev/null || true
lines="$(machine sh -c 'journalctl --no-pager | wc -l')"
machine timeout 3 soloctl get events -n 1 2>/dev/null && fail "a store that is half restored is served"
sleep 1
[ "$(machine sh -c 'journalctl --no-pager | wc -l')" -lt $((lines + 200)) ] || fail "a cut off restore fills the journal"
machine systemctl stop solo.target
settled
machine rm /var/lib/solo/restore.unfinished
machine systemctl reset-failed
machine systemctl start solo.target
until_true machine soloctl status --check
machine soloctl kill acme/stubborn >/dev/null

# A start takes as long as it gets on: a recovery has longer to build than the unit that waits for it may take, and tells.
mkdir -p "$MACHINE_ROOT"/etc/systemd/system/{recoveryd,solo}.service.d
for unit in recoveryd solo; do
    printf '[Service]\nTimeoutStartSec=5s\n' >"$MACHINE_ROOT/etc/systemd/system/$unit.service.d/short.conf"
done
machine systemctl daemon-reload
cat >"$MACHINE_ROOT/usr/local/bin/slow-cc" <<'COMPILER'
#!/bin/sh
[ ! -e /run/builds-are-slow ] || sleep 6
cp "$1" "$2"
COMPILER
chmod 755 "$MACHINE_ROOT/usr/local/bin/slow-cc"
cat >"$MACHINE_ROOT/var/tmp/built" <<'SPEC'
{"tenant": "acme", "name": "built", "code": "#!/bin/sh\nexec sleep 100000\n", "build": "/usr/local/bin/slow-cc {code} {out}", "argv": ["{out}"]}
SPEC
machine soloctl apply -f /var/tmp/built >/dev/null
build_slowly() { machine sh -c 'touch /run/builds-are-slow; rm -r /var/lib/solo/builds/*'; }
took_long() { [ "$(machine soloctl status -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["recovery"]["took_ms"])')" -ge 6000 ]; }

# The whole as one unit, and back.
wanted="$(names)"
machine systemctl stop solo.target eventd.socket
build_slowly
machine systemctl start solo.service || fail "solo.service does not start"
took_long || fail "the recovery of solo.service was quick"
machine rm /run/builds-are-slow /etc/systemd/system/solo.service.d/short.conf
machine systemctl daemon-reload
until_true machine soloctl status --check
[ "$(names)" = "$wanted" ] || fail "solo.service has other services"
until_true machine grep -qx swordfish /var/lib/solo/tenants/acme/reader/got
pid="$(pid_of acme/reader)"
old="$(machine systemctl show -P MainPID solo.service)"
machine soloctl daemon restart eventd >/dev/null || fail "solod does not restart eventd"
machine systemctl reload solo.service
machine kill -9 "$old"
is_another() { local pid; pid="$(machine systemctl show -P MainPID solo.service)"; [ "$pid" -gt 1 ] && [ "$pid" != "$old" ]; }
until_true is_another
until_true machine soloctl status --check
[ "$(pid_of acme/reader)" = "$pid" ] || fail "the death of solod stopped a service"
machine systemctl stop solo.service
nothing_runs || fail "something is left after solo.service"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "solo.service did not close the log"
machine systemd-tmpfiles --create
build_slowly
machine systemctl start solo.target
until_true machine soloctl status --check
took_long || fail "the recovery of solo.target was quick"
machine rm /run/builds-are-slow /etc/systemd/system/recoveryd.service.d/short.conf
machine systemctl daemon-reload
[ "$(names)" = "$wanted" ] || fail "the way back from solo.service lost services"
machine systemctl show -P StatusText recoveryd.service | grep -q '^recovered 2' || fail "recoveryd does not say what it did"

# A recovery that fails keeps nobody from stopping in order.
machine sh -c 'mkdir -p /etc/systemd/system/recoveryd.service.d
    printf "[Service]\nExecStart=\nExecStart=/bin/false\n" >/etc/systemd/system/recoveryd.service.d/fails.conf
    systemctl daemon-reload'
machine systemctl restart recoveryd.service 2>/dev/null && fail "the recovery does not fail"
machine systemctl stop solo.target
settled
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "after a failed recovery the log is not closed"
echo "journal, reload, secrets, verification, watchdog, a damaged store, long starts, solo.service and a failed recovery work"
