/* addresses.h - which addresses a snapshot serves, and whose sockets are whose.
 *
 * A new address gets its sockets while the snapshot is built. They stay in a struct mg_open_address; as a snapshot comes into force each
 * of its W workers takes a duplicate of its share (socket i belongs to worker i mod W) and gives up what is another's now: no
 * socket is ever closed for that. More workers than sockets share them. */
#ifndef MG_SERVER_ADDRESSES_H
#define MG_SERVER_ADDRESSES_H

#include "server/gateway.h"

/* Give each listener an id of its own: an address that is there more than once (port 0) gets "#2"… 0 or MG_ENOMEM. Builder
 * thread, before the snapshot is shown to anybody. */
int mg_addresses_name(struct mg_snapshot *s);
/* The key of a listener: its id. */
void mg_address_key(const struct mg_snapshot *s, size_t listener, char out[MG_SOCKET_KEY]);
/* Builder thread: sockets for all addresses of s that are not served yet, into `opened`. 0, or < 0 with err; what was opened stays
 * in the list. */
int mg_addresses_open(struct mg_gateway *g, const struct mg_snapshot *s, struct mg_list *opened, struct mg_error *err);
void mg_addresses_move(struct mg_list *to, struct mg_list *from);
/* The snapshot does not come into force: give back what was opened for it. */
void mg_addresses_abandon(struct mg_gateway *g, struct mg_list *opened);
/* On each worker: listeners as s has them; the sockets are those of `opened` and of the gateway. */
void mg_addresses_apply(struct mg_thread *t, struct mg_snapshot *s, struct mg_list *opened);
/* For mg_listeners_close: does the snapshot (arg) still have this address? */
bool mg_addresses_keep(const char *key, void *snapshot);
/* All workers have applied: the opened ones are the gateway's, those no longer served are dropped. */
void mg_addresses_committed(struct mg_gateway *g, struct mg_list *opened);
/* At the end: drop all but the admin's (admin_too: that as well). */
void mg_addresses_drop(struct mg_gateway *g, bool admin_too);
/* One JSON object a line: {"name":…,"address":…,"port":…,"admin":…,"tls":…}. 0 or -errno. */
int mg_addresses_write(const struct mg_list *addresses, const char *path);

/* A worker does not come back: `to` accepts on its sockets as well, until the next snapshot shares them out anew. Control thread.
 * False when out of memory. */
bool mg_addresses_adopt(struct mg_gateway *g, const struct mg_thread *from, struct mg_thread *to);

#endif
