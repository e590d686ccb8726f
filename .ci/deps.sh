#!/bin/sh
# Looks for what the tests run, and installs it if this is root on Debian.
set -eu

missing=
need() { # command, package
	command -v "$1" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need nginx nginx-light
need haproxy haproxy
need redis-server redis-server
need python3 python3
need node nodejs
need gunicorn gunicorn
need apache2 apache2-bin
need lighttpd lighttpd
need pgbouncer pgbouncer
need sshd openssh-server
need ssh-keygen openssh-client
# Its name has its version.
ls /usr/sbin/php-fpm* >/dev/null 2>&1 || missing="$missing php-fpm"
need gcc gcc
need bash bash
need nc netcat-openbsd
need killall psmisc
need curl curl
# The shell has a kill of its own; the tests execute the program.
[ -x /bin/kill ] || [ -x /usr/bin/kill ] || missing="$missing procps"
need setpriv util-linux
need unshare util-linux
[ -e /usr/lib/x86_64-linux-gnu/libc.a ] || [ -e /usr/lib64/libc.a ] || [ -e /usr/lib/libc.a ] || missing="$missing libc6-dev"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	# Only the programs are wanted: no package is to start its service now.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
	echo "missing:$missing" >&2
	echo "as root: apt-get install$missing" >&2
	exit 1
fi
