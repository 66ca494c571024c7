#!/bin/bash
# Moongate: one worker, no supervisor. MOONGATE names another binary than the release build.
set -e
. "$BENCH/lib.sh"
: "${MOONGATE:=$BENCH/../../build/release/bin/moongate}"
case $1 in
scenarios) echo plain c1 1k 64k 10m policy tls tlshs routes1 routes1000 routes10000 idle idletls ;;
start)
	render "$HERE/$(family).lua.in" "$WORK/gateway.lua"
	exec "$MOONGATE" run -c "$WORK/gateway.lua" --workers 1 --no-supervisor ;;
esac
