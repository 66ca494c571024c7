#!/bin/bash
# spec/bench/gc.sh [SECONDS]: what collecting Lua's garbage costs, and how long its longest step takes.
#
# One worker. "fast": every request makes 50 tables and strings and is answered at once, 64 connections. "wait": every request makes
# 20 tables with a string of their own and holds them while it sleeps for 20 ms, 1,000 connections. Prints CPU time a request, what of
# it was the collector's, cycles, and the longest step, all in thread CPU as /metrics has them (moongate_lua_gc_*).
set -e
seconds=${1:-5}
here=$(cd "$(dirname "$0")" && pwd)
: "${MOONGATE:=$here/../../build/release/bin/moongate}"
work=$(mktemp -d)
port=$((10000 + RANDOM % 10000)) admin=$((20000 + RANDOM % 10000))
trap 'kill $pid 2>/dev/null || true; rm -rf "$work"' EXIT
cat > "$work/gateway.lua" <<END
return {
  listen = { "127.0.0.1:$port" }, admin = "127.0.0.1:$admin", workers = 1, log = { level = "error" },
  routes = {
    { "fast", path = "/fast", plugins = { { on_request = function(x)
      local t = {}
      for i = 1, 50 do t[i] = { a = i, b = "x" .. i .. x.request.path } end
      return x:respond(200, tostring(#t))
    end } } },
    { "wait", path = "/wait", plugins = { { on_request = function(x)
      local mg = require "moongate"
      local t = {}
      for i = 1, 20 do t[i] = { name = mg.uuid(), list = { i, i + 1 } } end
      mg.sleep(20)
      return x:respond(200, tostring(#t))
    end } } },
  },
}
END
metric() { curl -s "127.0.0.1:$admin/metrics" | awk -v m="moongate_$1{" 'index($0, m) == 1 { print $2 }'; }
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }

for path in fast wait; do
	"$MOONGATE" run -c "$work/gateway.lua" --no-supervisor 2> "$work/log" & pid=$!
	until curl -s -o /dev/null "127.0.0.1:$port/fast"; do kill -0 $pid || { cat "$work/log"; exit 1; }; sleep 0.05; done
	[ $path = fast ] && connections=64 || connections=1000
	from=$(ticks)
	n=$(wrk -t1 -c$connections -d"$seconds" "http://127.0.0.1:$port/$path" | awk '/requests in/ { print $1 }')
	to=$(ticks)
	awk -v p=$path -v n="$n" -v t=$((to - from)) -v gc="$(metric lua_gc_seconds_total)" -v c="$(metric lua_gc_cycles_total)" \
	    -v l="$(metric lua_gc_longest_step_seconds)" -v b="$(metric lua_bytes)" -v hz="$(getconf CLK_TCK)" \
	    'BEGIN { printf "gc %s requests=%d cpu_us_per_req=%.1f gc_us_per_req=%.2f cycles=%d longest_step_us=%d lua_kb=%d\n",
	             p, n, t / hz * 1e6 / n, gc * 1e6 / n, c, l * 1e6, b / 1024 }'
	kill $pid; wait $pid 2>/dev/null || true
done
