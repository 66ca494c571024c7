/* client.h - one accepted connection of a client, and the listener's settings as it sees them.
 *
 * A connection outlives snapshots, so it holds no pointer into one: its `port` is this worker's own copy of the
 * listener's settings, renewed when another snapshot comes into force and kept while a connection needs it. */
#ifndef MG_PROXY_CLIENT_H
#define MG_PROXY_CLIENT_H

#include "proxy/proxy.h"

/* What one worker keeps of a listener. Counted by its connections and by the snapshot in force. */
struct mg_port {
    struct mg_list node;             /* in worker's list of ports */
    struct mg_str id, name, address; /* owned copies */
    struct mg_h1_limits h1;
    struct mg_timeouts timeouts;
    struct mg_limits limits;
    int connections_max, connections;
    int redirect_https, redirect_port;
    bool half_close, is_admin, is_gone;
    unsigned refs;
};

struct mg_client {
    struct mg_stream stream;
    struct mg_h1 h1;
    struct mg_list node;             /* in worker->clients */
    struct mg_worker *worker;
    struct mg_port *port;
    struct mg_exchange *x;           /* the exchange on it; NULL while idle */
    struct mg_timer timer;           /* head, idle, body or write timeout: `waits_for` */
    int64_t active_ms;               /* when the client last did something */
    uint8_t peer_addr[16];
    uint16_t peer_port;
    uint8_t waits_for;               /* enum mg_client_wait */
    bool is_unix, is_secure;
};
enum mg_client_wait { MG_CW_NOTHING = 0, MG_CW_TLS, MG_CW_IDLE, MG_CW_HEAD, MG_CW_BODY, MG_CW_WRITE };

/* Begin one of these waits, with its timeout, or end it: NOTHING. */
void mg_client_wait(struct mg_client *c, enum mg_client_wait what);

#endif
