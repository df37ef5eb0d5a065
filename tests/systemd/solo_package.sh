#!/usr/bin/env bash
# solo_package.sh BUILD: the Debian package under a systemd of its own (machine.sh): install, deploy, upgrade in place, remove,
# install again, purge. An upgrade restarts every daemon and touches no service and no socket.
set -euo pipefail
build="$1"
services=100
. "$(dirname "$(readlink -f "$0")")/machine.sh"
command -v dpkg-shlibdeps >/dev/null || skip "dpkg-shlibdeps is not there (package dpkg-dev)"
[ -f "$build/CPackConfig.cmake" ] || skip "there is no release in $build (scripts/up --build-only)"
machine_or_skip
# Each installation would have every manual of this machine read.
rm -f "$MACHINE_ROOT/var/lib/man-db/auto-update"

daemons() {
    local unit
    for unit in eventd tokend vaultd deployd; do
        machine systemctl show -P MainPID "$unit.service"
    done
}
# TENANT/NAME, state and pid.
rows() {
    machine soloctl get services -o jsonl | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(row["tenant"] + "/" + row["name"], row["state"], row["pid"])' | sort
}

# Three versions: the second differs in its number, the third in what its programs know of the log, too.
packages="$MACHINE_ROOT/var/tmp/packages"
mkdir -p "$packages/made"
(cd "$packages" && cpack --config "$build/CPackConfig.cmake" -B "$packages/made") >"$machine_scratch/cpack.log" 2>&1 ||
    { cat "$machine_scratch/cpack.log"; fail "cpack makes no package"; }
mv "$packages"/made/solo_*.deb "$packages/old.deb"
dpkg-deb -R "$packages/old.deb" "$packages/tree"
sed -i 's/^Version: .*/&+next/' "$packages/tree/DEBIAN/control"
dpkg-deb --root-owner-group -b "$packages/tree" "$packages/new.deb" >/dev/null
format="$(sed -n 's/^events //p' "$packages/tree/usr/share/solo/formats")"
sed -i 's/^Version: .*next$/&2/' "$packages/tree/DEBIAN/control"
sed -i "s/^events $format$/events 1$format/" "$packages/tree/usr/share/solo/formats" "$packages/tree/DEBIAN/preinst"
dpkg-deb --root-owner-group -b "$packages/tree" "$packages/other.deb" >/dev/null
rm -rf "$packages/made" "$packages/tree"

machine_boot || fail "the machine does not boot"
machine dpkg -i /var/tmp/packages/old.deb >/dev/null 2>"$machine_scratch/dpkg.log" || { cat "$machine_scratch/dpkg.log"; fail "it does not install"; }
if command -v scdoc >/dev/null; then
    for page in man1/soloctl.1 man8/solod.8 man8/recoveryd.8 man5/solo.conf.5 man5/solo-service.5 man7/solo-events.7; do
        [ -s "$MACHINE_ROOT/usr/share/man/$page.gz" ] || fail "the package has no manual $page"
    done
fi
machine soloctl status --check >/dev/null || fail "it does not run after the installation"
[ "$(machine systemctl is-enabled solo.target)" = enabled ] || fail "it does not start at the next boot"

python3 -c '
import json
for n in range('"$services"'):
    print(json.dumps({"tenant": "t%d" % (n % 4), "name": "s%d" % n, "argv": ["/bin/sleep", "100000"]}))' >"$packages/specs"
machine soloctl apply -f /var/tmp/packages/specs >/dev/null || fail "services are not deployed"
before="$(rows)"
[ "$(grep -c ' running ' <<<"$before")" = "$services" ] || fail "not every service runs"
old="$(daemons)"
sockets="$(machine sh -c 'stat -c "%n %i" /run/solo/*.sock')"

# Somebody asks all the time.
: >"$packages/asks"
machine sh -c 'while [ -e /var/tmp/packages/asks ]; do soloctl get services >/dev/null || echo failed; sleep 0.1; done' >"$machine_scratch/failed" 2>&1 &
asker=$!
machine dpkg -i /var/tmp/packages/new.deb >/dev/null || fail "it does not upgrade"
rm "$packages/asks"
wait "$asker" || true
[ ! -s "$machine_scratch/failed" ] || { cat "$machine_scratch/failed"; fail "requests failed during the upgrade"; }
[ "$(rows)" = "$before" ] || fail "the upgrade changed services"
[ "$(machine sh -c 'stat -c "%n %i" /run/solo/*.sock')" = "$sockets" ] || fail "the upgrade changed sockets"
[ -z "$(comm -12 <(sort <<<"$old") <(daemons | sort))" ] || fail "a daemon was not restarted by the upgrade"

# Stores are not converted: another format is refused before anything is changed.
refused() {
    machine dpkg -i "/var/tmp/packages/$1.deb" >/dev/null 2>"$machine_scratch/dpkg.log" && return 1
    grep -q "/var/lib/solo/events has format $2, solo .* knows format $3 and converts nothing" "$machine_scratch/dpkg.log"
}
new="$(daemons)"
refused other "$format" "1$format" || { cat "$machine_scratch/dpkg.log"; fail "a version that does not know the log is installed"; }
[ "$(machine dpkg-query -W -f '${Version} ${db:Status-Status}' solo)" = "$(dpkg-deb -f "$packages/new.deb" Version) installed" ] ||
    fail "a refused upgrade changed what is installed"
[ "$(daemons)" = "$new" ] || fail "a refused upgrade restarted a daemon"
[ "$(rows)" = "$before" ] || fail "a refused upgrade changed services"

# The same with all of it in one unit: solod stays, its daemons are restarted, the vault opens for the new one.
machine systemctl stop solo.target
settled
machine systemctl start solo.service
until_true machine soloctl status --check
listed() { machine soloctl daemon list -o jsonl | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    if row["name"] in ("eventd", "tokend", "vaultd", "deployd"):
        print(row["pid"])'; }
before="$(rows)"
old="$(listed)"
machine dpkg -i /var/tmp/packages/old.deb >/dev/null 2>&1 || fail "it does not upgrade below solo.service"
until_true machine soloctl status --check
[ "$(rows)" = "$before" ] || fail "the upgrade below solo.service changed services"
[ -z "$(comm -12 <(sort <<<"$old") <(listed | sort))" ] || fail "a daemon of solo.service was not restarted by the upgrade"
machine soloctl vault status -o json | grep -q '"state": *"open"' || fail "the upgrade sealed the vault of solo.service"
machine systemctl stop solo.service
machine systemd-tmpfiles --create solo.conf
machine systemctl start solo.target
until_true machine soloctl status --check

# A backup, and back from it, with the programs where they are installed.
machine install -d -m 770 -g solo-store /var/lib/solo/backup
machine soloctl backup /var/lib/solo/backup >/dev/null || fail "it cannot be backed up"
machine soloctl restore /var/lib/solo/backup --data /var/tmp/restored >/dev/null || fail "a backup cannot be put back"
[ -s "$MACHINE_ROOT/var/tmp/restored/events/data.mdb" ] || fail "nothing was put back"
machine rm -r /var/lib/solo/backup

# Removed and installed again: what was wanted is still wanted.
machine dpkg -r solo >/dev/null || fail "it cannot be removed"
nothing_runs || fail "something runs after the removal"
refused other "$format" "1$format" || { cat "$machine_scratch/dpkg.log"; fail "a version that does not know the log that is left is installed"; }
machine dpkg -i /var/tmp/packages/new.deb >/dev/null || fail "it does not install again"
machine soloctl wait t0/s0 --for ready --timeout 30s >/dev/null || fail "nothing comes back"
all_run() { [ "$(rows | grep -c ' running ')" = "$services" ]; }
until_true all_run || fail "services are lost by a removal"

# The way to begin anew: removed, moved away, and installed, also one that knows other stores.
machine dpkg -r solo >/dev/null || fail "it cannot be removed again"
machine mv /var/lib/solo /var/lib/solo.old
machine dpkg -i /var/tmp/packages/other.deb >/dev/null 2>&1 || fail "beside a log that was moved away it does not install"
machine soloctl status --check >/dev/null || fail "beside a log that was moved away it does not run"
machine rm -r /var/lib/solo.old

machine dpkg -P solo >/dev/null 2>&1 || fail "it cannot be purged"
nothing_runs || fail "something runs after the purge"
left="$(machine sh -c 'ls -d /var/lib/solo /run/solo /etc/solo /usr/sbin/solod /usr/lib/systemd/system/solo.target /etc/systemd/system/*.wants/solo.target 2>/dev/null; getent passwd solo-eventd; getent group solo-store' || true)"
[ -z "$left" ] || fail "the purge leaves $left"
echo "the package installs, upgrades under $services services, is removed and purged"
