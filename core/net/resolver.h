/* resolver.h - names to addresses without blocking (c-ares), with the records' TTL.
 *
 * One for each loop that needs it (the control thread). Same-thread; callbacks never run inside the call. */
#ifndef MG_NET_RESOLVER_H
#define MG_NET_RESOLVER_H

#include "net/loop.h"
#include "base/error.h"
#include "net/records.h"

struct mg_resolver;

struct mg_address { struct sockaddr_storage sa; char text[56]; }; /* text: "10.0.0.1:80", "[::1]:80" */

struct mg_resolver_conf {
    struct mg_str servers;   /* "10.0.0.2,10.0.0.3:5353"; empty: /etc/resolv.conf */
    int64_t timeout_ms;      /* of one try; 2000 */
    int tries;               /* 3 */
};
struct mg_resolver *mg_resolver_new(struct mg_loop *loop, const struct mg_resolver_conf *conf, struct mg_error *err);
/* Pending queries are cancelled without callback. Asynchronous parts end with the loop. */
void mg_resolver_free(struct mg_resolver *r);

/* status 0 with n > 0 addresses (A and AAAA, IPv4 first), port filled in, and the shortest TTL in
 * seconds (hosts file and literals: a day); or MG_ENOENT, MG_ETIMEOUT, MG_EPROTO. Arguments borrowed for the call. */
typedef void mg_resolved(void *arg, int status, const struct mg_address *addrs, size_t n, int ttl_s);
/* /etc/hosts is honoured; no search list is used. 0: `done` follows; UV_ENOMEM: it does not. */
int mg_resolver_ask(struct mg_resolver *r, struct mg_str host, int port, mg_resolved *done, void *arg);
/* Records of another type (net/records.h). status 0: text, borrowed for the call, and the shortest TTL; MG_ENOENT, MG_ETIMEOUT, MG_EPROTO,
 * MG_ENOMEM. No hosts file. */
typedef void mg_records_found(void *arg, int status, struct mg_str text, int ttl_s);
int mg_resolver_records(struct mg_resolver *r, struct mg_str name, int type, mg_records_found *done, void *arg);
/* Parse "1.2.3.4", "::1", "[::1]" without asking anybody: 0 or MG_EINVAL. */
int mg_address_parse(struct mg_str host, int port, struct mg_address *out);
/* Fill in `text` from `sa`. Unix sockets are not addresses of this kind. */
void mg_address_format(struct mg_address *a);
/* From 4 or 16 bytes in network order; `text` is filled in. */
void mg_address_v4(struct mg_address *out, const void *ip, int port);
void mg_address_v6(struct mg_address *out, const void *ip, int port);

/* Tests: another hosts file. Borrowed. */
void mg_resolver_hosts(struct mg_resolver *r, const char *path);

#endif
