#!/bin/sh
# Runs the integration suite as an ordinary user: what root may do without
# asking (ptrace, pidfd_getfd, filters without no_new_privs), others may not.
# All that it runs is in a directory that .ci/build.sh has filled. Only root can.
#   sh .ci/as-user.sh DIR flags...
set -eu
dir=$1
shift
chown 65534:65534 "$dir/tmp"
cd "$dir/tmp"
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$dir/tmp" TMPDIR="$dir/tmp" LANG=C.UTF-8 \
	HUPT_BIN="$dir/bin" HUPT_SCALE="${HUPT_SCALE:-4}" HUPT_SLOWER="${HUPT_SLOWER:-}" HUPT_COSTS="${HUPT_COSTS:-}" \
	setpriv --reuid=65534 --regid=65534 --clear-groups "$dir/integration.test" "$@"
