#!/bin/sh
# Runs the tests of each package, compiled into a directory, in the package's own
# directory as go test does, four packages at once, and shows what those that
# fail print:
#   sh .ci/units.sh DIR flags...
set -u
cd "$(dirname "$0")/.."
: "${GO:=go}"
export UNITS="$1"
shift
export FLAGS="$*"
# shellcheck disable=SC2016
$GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./... | grep -v '/integration ' |
	xargs -P 4 -L 1 sh -c '
		name=${1##*/}
		began=$(date +%s)
		cd "$2" || exit 1
		"$UNITS/$name.test" $FLAGS >"$UNITS/$name.out" 2>&1
		code=$?
		took=$(($(date +%s) - began))
		[ $code != 0 ] || { echo "ok    $1 $took s"; exit 0; }
		echo "FAIL  $1 $took s, code $code"
		cat "$UNITS/$name.out"
		exit 1' sh
