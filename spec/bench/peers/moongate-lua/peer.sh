#!/bin/bash
# Moongate with Lua in the chain. policy: key-auth and the header changes in Lua, rate limit and access log in C; plain:
# one plugin that reads two header fields and sets one.
set -e
. "$BENCH/lib.sh"
: "${MOONGATE:=$BENCH/../../build/release/bin/moongate}"
case $1 in
scenarios) echo plain policy ;;
start)
	render "$HERE/$(family).lua.in" "$WORK/gateway.lua"
	exec "$MOONGATE" run -c "$WORK/gateway.lua" --workers 1 --no-supervisor ;;
esac
