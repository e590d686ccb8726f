#!/bin/sh
# Runs a command, and all that it starts, on a part of the processors:
#   sh .ci/slow.sh FRACTION command...
# FRACTION is of all processors, below 1; 1 means a fifth. Where this user may
# make control groups, the kernel sees to that: cpu.max in cgroup v2,
# cpu.cfs_quota_us in v1. Elsewhere, busy loops take the rest, as far as the
# scheduler gives it to them. The command finds HUPT_SLOWER, how many times
# slower it all is. Nothing is left afterwards, also if it was interrupted.
set -u

fraction=$1
shift
[ "$fraction" != 1 ] || fraction=0.2
processors=$(nproc)
period=100000 # µs
quota=$(awk -v f="$fraction" -v n="$processors" -v p=$period 'BEGIN { if (f > 0 && f < 1) printf "%d", f * n * p }')
[ -n "$quota" ] && [ "$quota" -ge 1000 ] || { echo "slow.sh: not a part of the processors: $fraction (0.2 is a fifth)" >&2; exit 2; }
HUPT_SLOWER=$(awk -v f="$fraction" 'BEGIN { printf "%.3g", 1 / f }')
export HUPT_SLOWER

group= parent= loops= child=

# usable makes a group in a directory of a cgroup file system, if it may, with
# the limit, and looks whether a process can be put there.
usable() { # directory, file, value
	[ -w "$1" ] || return 1
	group=$1/hupt-slow.$$
	mkdir "$group" 2>/dev/null || { group=; return 1; }
	if { echo "$3" >"$group/$2"; } 2>/dev/null && sh -c 'echo $$ >"$1/cgroup.procs"' sh "$group" 2>/dev/null; then
		parent=$1
		return 0
	fi
	rmdir "$group" 2>/dev/null
	group=
	return 1
}

# mounted lists where a type of file system is mounted, by proc_mounts(5), with
# an option.
mounted() { # type, option
	awk -v t="$1" -v o="$2" '$3 == t && (o == "" || ("," $4 ",") ~ ("," o ",")) { print $2 }' /proc/self/mounts
}

# upwards lists a path of /proc/self/cgroup and all above it.
upwards() { # path
	p=$1
	while [ -n "$p" ] && [ "$p" != / ]; do
		echo "$p"
		p=${p%/*}
	done
	echo
}

throttle() {
	for mount in $(mounted cgroup2 ""); do
		grep -qw cpu "$mount/cgroup.controllers" 2>/dev/null || continue
		# In a group with processes of its own, the kernel lets no controller work
		# on the groups in it (cgroups(7), "no internal processes"): then above.
		for path in $(upwards "$(sed -n 's/^0:://p' /proc/self/cgroup)") ""; do
			dir=$mount$path
			grep -qw cpu "$dir/cgroup.subtree_control" 2>/dev/null || { echo +cpu >"$dir/cgroup.subtree_control"; } 2>/dev/null
			usable "$dir" cpu.max "$quota $period" && return 0
		done
	done
	for mount in $(mounted cgroup cpu); do
		for path in $(upwards "$(sed -n 's/^[0-9]*:\([^:]*,\)\{0,1\}cpu\(,[^:]*\)\{0,1\}:\(.*\)/\3/p' /proc/self/cgroup)") ""; do
			usable "$mount$path" cpu.cfs_quota_us "$quota" && return 0
		done
	done
	return 1
}

# busy starts loops that leave a thread that runs beside them about that part of
# each processor. They look now and then whether this script is still there.
busy() {
	n=$(awk -v f="$fraction" -v n="$processors" 'BEGIN { printf "%d", (1 / f - 1) * n + 0.5 }')
	[ "$n" -ge 1 ] || n=1
	while [ "$n" -gt 0 ]; do
		sh -c 'while kill -0 "$1" 2>/dev/null; do n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done; done' sh $$ &
		loops="$loops $!"
		n=$((n - 1))
	done
}

clean() {
	trap '' INT TERM HUP
	# shellcheck disable=SC2086
	[ -z "$loops" ] || { kill $loops; wait $loops; } 2>/dev/null
	loops=
	[ -n "$group" ] || return 0
	# Whoever is left goes on, outside: it is not ours to end.
	tries=0
	while [ $tries -lt 50 ] && ! rmdir "$group" 2>/dev/null; do
		while read -r pid; do
			{ echo "$pid" >"$parent/cgroup.procs"; } 2>/dev/null
		done <"$group/cgroup.procs"
		tries=$((tries + 1))
		sleep 0.1
	done
	[ ! -d "$group" ] || echo "slow.sh: $group could not be removed" >&2
	group=
}

# interrupted passes a signal on, waits for the command, and ends by the signal.
interrupted() { # its name
	trap '' INT TERM HUP
	[ -z "$child" ] || { kill -s "$1" "$child"; wait "$child"; } 2>/dev/null
	clean
	trap - "$1"
	kill -s "$1" $$
}
trap clean EXIT
trap 'interrupted INT' INT
trap 'interrupted TERM' TERM
trap 'interrupted HUP' HUP

# A shell without job control has what it starts with & ignore INT and QUIT.
heeds="env --default-signal=INT,QUIT"
$heeds true 2>/dev/null || heeds=

if throttle; then
	echo "slow: $fraction of $processors processors, by $group"
	# shellcheck disable=SC2086,SC2016
	$heeds sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group" "$@" &
else
	busy
	echo "slow: about $fraction of $processors processors, beside busy loops (pids$loops): no control group can be made here"
	# shellcheck disable=SC2086
	$heeds "$@" &
fi
child=$!
wait $child
code=$?
child=
exit $code
