/* supervisor.h - the parent process: holds the listening sockets, keeps a gateway process alive, forwards signals.
 *
 * It runs no Lua, no threads, no TLS, so that little can go wrong in it. The gateway process asks it for sockets
 * (binder.h). When that process dies by itself it is started again: at once the first time, then with
 * growing pauses; connections wait in the queues of the sockets meanwhile. One that ends with an error before it has served
 * anything (a config that does not hold) ends the supervisor with the same exit code.
 *
 * When a plugin holds a worker for longer than `stall`, the process asks for a successor: it is started beside the old one, on the
 * same sockets, and once it serves the old one gets SIGUSR2: it lets go of the sockets, drains and ends, or is killed in the end.
 * Crashes and stalls are counted for each chain entry (quarantine.h).
 *
 * SIGHUP and SIGUSR1 are forwarded; SIGTERM and SIGINT drain and end; a second SIGINT, or SIGQUIT, ends at once. */
#ifndef MG_SERVER_SUPERVISOR_H
#define MG_SERVER_SUPERVISOR_H

#include "server/gateway.h"

struct mg_supervisor_options {
    struct mg_gateway_options gateway;
    const char *pid_file;   /* or NULL */
};
/* Returns the exit code, in the supervisor and in the gateway process alike. */
int mg_supervisor_run(const struct mg_supervisor_options *options);
/* The same without a second process. */
int mg_supervisor_run_alone(const struct mg_supervisor_options *options);

#endif
