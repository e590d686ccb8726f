#!/bin/sh
# Builds hupt and every victim into the directory that is given.
# HUPT_RACE=1 builds hupt with the race detector.
set -eu
cd "$(dirname "$0")"
out=$(realpath "$1")
command -v gcc >/dev/null || { echo "gcc is not installed: apt-get install gcc libc6-dev" >&2; exit 1; }

# Without cgo, as make build does it; the race detector wants it.
race=
export CGO_ENABLED=0
[ "${HUPT_RACE:-}" != 1 ] || { race=-race; CGO_ENABLED=1; }
go build $race -o "$out/hupt" ../../cmd/hupt
# The same with faults to be asked for: package fault.
go build $race -tags fault -o "$out/hupt-fault" ../../cmd/hupt
export CGO_ENABLED=0
# Each version of a victim is written anew: without what only a debugger wants.
go build -ldflags=-s -o "$out/gohttp" ./gohttp
go build -ldflags=-s -o "$out/goudp" ./goudp

for source in c/*.c; do
	name=$(basename "$source" .c)
	gcc -O2 -Wall -Wextra -Wno-unused-function -static -pthread -o "$out/$name" "$source"
done
# Dynamic ones, for what differs with a dynamic loader and a vdso.
for name in threads probe; do
	[ ! -e "c/$name.c" ] || gcc -O2 -Wno-unused-function -pthread -o "$out/$name-dynamic" "c/$name.c"
done
