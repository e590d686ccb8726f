#!/bin/sh
# Builds what parts of the suite run into a directory, each thing once:
#   sh .ci/build.sh DIR part...
# bin has hupt and the victims, race the same with hupt built with the race
# detector, units a program for each package's tests; and integration*.test. The
# race detector looks at one process: in the tests themselves it finds what is
# wrong with the tests, and takes as much time as all of hupt. RACE_TESTS=1 has it.
# gotestsum counts the tests and shows what failed, from what test2json makes of
# their output (go help test, -json).
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}"
dir=$1
shift
mkdir -p "$dir/bin" "$dir/race" "$dir/units" "$dir/tmp"
GOBIN="$dir" $GO install gotest.tools/gotestsum@v1.13.0
$GO build -o "$dir/test2json" cmd/test2json
HUPT_RACE='' sh integration/testdata/build.sh "$dir/bin"
for wanted; do
	case $wanted in
	units)
		$GO build -o "$dir/bin/" ./smoke/testdata/zoo ./smoke/testdata/noptrace
		# shellcheck disable=SC2046
		$GO test -race -vet=off -c -o "$dir/units/" $($GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep -v '/integration$')
		;;
	race)
		cp -l "$dir"/bin/* "$dir/race/"
		rm "$dir/race/hupt"
		$GO build -race -o "$dir/race/hupt" ./cmd/hupt
		[ -n "${RACE_TESTS:-}" ] || ln "$dir/bin/hupt" "$dir/race/hupt-client"
		if [ -n "${RACE_TESTS:-}" ]; then
			$GO test -race -vet=off -c -o "$dir/integration-race.test" ./integration
		else
			[ -e "$dir/integration.test" ] || $GO test -vet=off -c -o "$dir/integration.test" ./integration
			ln "$dir/integration.test" "$dir/integration-race.test"
		fi
		;;
	integration | user) [ -e "$dir/integration.test" ] || $GO test -vet=off -c -o "$dir/integration.test" ./integration ;;
	*)
		echo "no part $wanted: units, race, integration or user" >&2
		exit 2
		;;
	esac
done
