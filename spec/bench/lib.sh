# Sourced by peers/*/peer.sh.  run.py sets: BENCH (this folder), WORK (a scratch
# folder of this run), DATA (keys.txt, routes.txt, cert.pem, key.pem, both.pem),
# BIN (the compiled floor programs), SCENARIO, PORT, TLS_PORT, BACKEND_PORT.
HERE=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)

# render TEMPLATE OUT: replaces @NAME@ by the environment's value
render() {
	sed -e "s|@WORK@|$WORK|g" -e "s|@DATA@|$DATA|g" -e "s|@PORT@|$PORT|g" \
	    -e "s|@TLS_PORT@|$TLS_PORT|g" -e "s|@BACKEND_PORT@|$BACKEND_PORT|g" \
	    -e "s|@HERE@|$HERE|g" "$1" > "$2"
}

# the family of a scenario: plain | policy | routes1 | routes1000 | routes10000
family() {
	case $SCENARIO in policy|routes1|routes1000|routes10000) echo "$SCENARIO" ;; *) echo plain ;; esac
}
