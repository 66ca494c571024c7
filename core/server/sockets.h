/* sockets.h - the listening sockets of every address, kept for longer than a gateway process lives.
 *
 * A closed or unwatched SO_REUSEPORT socket strands the connections in its queue, so for each TCP address there is
 * a number of them that never shrinks; the workers share them out. A Unix socket and the admin listener have one each.
 * The supervisor holds a table of them; without a supervisor the gateway process does.
 *
 *     n = mg_sockets_take(table, &ask, fds, MG_SOCKETS_MAX, &err);   // binds what is missing
 */
#ifndef MG_SERVER_SOCKETS_H
#define MG_SERVER_SOCKETS_H

#include <sys/socket.h>
#include "base/error.h"

enum { MG_SOCKETS_MAX = 64, MG_SOCKET_KEY = 192 };

struct mg_bind_ask {
    char key[MG_SOCKET_KEY];    /* the address in canonical form; names it ever after */
    struct sockaddr_storage sa; /* port 0: the system chooses one, the same for all sockets of the key */
    int32_t backlog;
    int32_t count;              /* at least so many sockets; Unix sockets: always one */
};

struct mg_sockets;
struct mg_sockets *mg_sockets_new(void);
/* Closes all; files of Unix sockets are removed. */
void mg_sockets_free(struct mg_sockets *t);
/* Close all without removing the files of Unix sockets: for a child that inherited the table. */
void mg_sockets_forget(struct mg_sockets *t);
/* The sockets of an address, listening; bound now if need be. They stay the table's. Returns how many, or < 0 with err:
 * UV_EADDRINUSE when somebody else listens there, even with SO_REUSEPORT. */
int mg_sockets_take(struct mg_sockets *t, const struct mg_bind_ask *ask, int *fds, int room, struct mg_error *err);
void mg_sockets_drop(struct mg_sockets *t, const char *key);
/* A new gateway process begins: what it does not take until it is ready, nobody will serve. */
void mg_sockets_mark(struct mg_sockets *t);
void mg_sockets_sweep(struct mg_sockets *t);

#endif
