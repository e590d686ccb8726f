#!/bin/sh
# Runs the integration suite as an ordinary user: what root may do without
# asking (ptrace, pidfd_getfd, filters without no_new_privs), others may not.
# Everything is compiled first, into a directory that such a user can read.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	echo "this is an ordinary user already: the suite before this ran as one"
	exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir "$dir/bin" "$dir/tmp"
sh integration/testdata/build.sh "$dir/bin"
go test -c -o "$dir/integration.test" ./integration
chown 65534:65534 "$dir/tmp"
cd "$dir/tmp"
echo "as uid 65534: integration.test $*"
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$dir/tmp" TMPDIR="$dir/tmp" LANG=C.UTF-8 \
	HUPT_BIN="$dir/bin" HUPT_SCALE="${HUPT_SCALE:-4}" \
	setpriv --reuid=65534 --regid=65534 --clear-groups "$dir/integration.test" "$@"
