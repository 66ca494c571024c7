#!/bin/bash
# Moongate with key-auth and the header changes in Lua; rate limit and access log in C.
set -e
. "$BENCH/lib.sh"
: "${MOONGATE:=$BENCH/../../build/release/bin/moongate}"
case $1 in
scenarios) echo policy ;;
start)
	render "$HERE/policy.lua.in" "$WORK/gateway.lua"
	exec "$MOONGATE" run -c "$WORK/gateway.lua" --workers 1 --no-supervisor ;;
esac
