#!/bin/sh
# Runs a command, and adds a line to a file that tells how long it took, and how
# much processor time, with all whose end it or its children waited for:
#   sh .ci/part.sh FILE NAME command...
file=$1 name=$2
shift 2
began=$(date +%s.%N)
"$@"
code=$?
ended=$(date +%s.%N)
times >"$file.times" # in a pipe, it would be the times of another shell
[ "$code" = 0 ] && word= || word="  failed"
awk -v name="$name" -v began="$began" -v ended="$ended" -v word="$word" '
	function seconds(t, p) { split(t, p, /[ms]/); return p[1] * 60 + p[2] }
	NR == 2 { printf "%-12s %6d s %16d s%s\n", name, ended - began, seconds($1) + seconds($2), word }
' "$file.times" >>"$file"
exit "$code"
