#!/bin/sh
# Runs parts of the test suite, one after the other, all of them though one
# fails, and tells at the end how long each took and how fast the machine is:
#   sh .ci/suite.sh units race user
# units        every package but integration, with the race detector
# race         integration, with hupt built with the race detector; with
#              RACE_TESTS=1 the tests, too
# integration  integration, without it
# user         the same as an ordinary user, if this is root
# All that they run is built before, once. SLOW=1 runs them on a fifth of the
# processors, SLOW=0.4 on two fifths: .ci/slow.sh. PARALLEL is how many tests of
# a part run at once, RUN which (as of go test -run), HUPT_SCALE how small they are
# (docs/testing.md).
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}" "${PARALLEL:=8}" "${SLOW:=0}" "${RUN:=}"
export GO
dir=$(mktemp -d)
chmod 755 "$dir"
took=$dir/took
before= failed=

# counted tells how many tests and subtests there were, of all parts.
counted() {
	cat "$dir"/*.events 2>/dev/null | awk '
		/"Test":/ && match($0, /"Action":"(pass|fail|skip)"/) { n[substr($0, RSTART + 10, 4)]++ }
		END { printf "tests: %d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"] }'
}

tell() {
	code=$?
	trap - EXIT
	if [ -s "$took" ]; then
		echo
		printf '%-12s %8s %18s\n' part 'took' 'processor time'
		cat "$took"
	fi
	counted
	if [ -n "$before" ]; then
		echo "at the start: $before"
		echo "at the end:   $("$dir/speed")"
	fi
	rm -rf "$dir"
	[ -z "$failed" ] || code=1
	if [ "$code" = 0 ]; then echo "passed"; else echo "FAILED:${failed:- code $code}"; fi
	exit "$code"
}
trap tell EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# part runs a command as a part of the suite, slowly if that is asked for.
part() { # name, command...
	name=$1
	shift
	echo "== $name"
	set -- sh .ci/part.sh "$took" "$name" "$@"
	[ "$SLOW" = 0 ] || [ "$name" = build ] || set -- sh .ci/slow.sh "$SLOW" "$@"
	"$@" && return
	code=$?
	[ $code -lt 129 ] || exit $code # interrupted
	echo "== $name failed"
	failed="$failed $name"
}

# shown runs what prints tests as go test -json does, and shows what fails.
shown() { # name, command...
	name=$1
	shift
	part "$name" "$dir/gotestsum" --format pkgname-and-test-fails --format-icons text --hide-summary skipped,output \
		--jsonfile-timing-events "$dir/$name.events" --raw-command -- "$@"
}

# suite runs the integration tests as a part.
suite() { # name, program, variables...
	name=$1 program=$2
	shift 2
	# shellcheck disable=SC2086
	shown "$name" env -C integration "$@" "$dir/test2json" -t -p hupt/integration "$program" -test.v=test2json $tests -test.run "$RUN"
}

$GO build -o "$dir/speed" ./internal/machine/speed
before=$("$dir/speed")
echo "$before"
# For what hangs and is not found by a limit of its test.
minutes=$("$dir/speed" -scale 40 -slow "$SLOW")
tests="-test.timeout ${minutes}m -test.parallel $PARALLEL"

part build sh .ci/build.sh "$dir" "$@"
[ -z "$failed" ] || exit 1
for wanted; do
	# shellcheck disable=SC2086
	case $wanted in
	units) shown units env HUPT_BIN="$dir/bin" sh .ci/units.sh "$dir" -test.timeout "${minutes}m" ;;
	race) suite race "$dir/integration-race.test" HUPT_RACE=1 HUPT_BIN="$dir/race" ;;
	integration) suite integration "$dir/integration.test" HUPT_BIN="$dir/bin" ;;
	user)
		if [ "$(id -u)" != 0 ]; then
			echo "== user: this is an ordinary user already; the part before ran as one"
			continue
		fi
		shown user "$dir/test2json" -t -p hupt/integration sh .ci/as-user.sh "$dir" -test.v=test2json $tests -test.run "$RUN"
		;;
	esac
done
