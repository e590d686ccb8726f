#!/bin/sh
# Runs the tests of each package, compiled into DIR/units by .ci/build.sh, in the
# package's own directory as go test does, four packages at once, and prints what
# they say as go test -json does, a package after the other:
#   sh .ci/units.sh DIR flags...
set -u
cd "$(dirname "$0")/.."
: "${GO:=go}"
export DIR="$1"
shift
export FLAGS="$*"
# shellcheck disable=SC2016
$GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./... | grep -v '/integration ' |
	xargs -P 4 -L 1 sh -c '
		out=$DIR/units/${1##*/}
		cd "$2" || exit 1
		"$DIR/test2json" -t -p "$1" "$out.test" -test.v=test2json $FLAGS >"$out.json"
		code=$?
		flock "$DIR/units" cat "$out.json"
		exit $code' sh
