/* redis_parts.h - the inside of the Redis client: what its files share.
 *
 *     struct mg_redis           redis_options.c   what a client is: immutable, counted, found by its options
 *     struct mg_redis_client    redis_client.c    it on one worker: servers, who is asked, who waits
 *     struct mg_redis_server    redis_server.c    one address: its connections, and its back-off while it is down
 *     struct mg_redis_conn      redis_conn.c      one connection: requests in order, replies in order
 *     struct mg_redis_request   redis_client.c    one command (or transaction) on its way
 *     struct mg_redis_call      redis_call.c      an exchange's operation: one request or more
 *     struct mg_redis_sub       redis_sub.c       a subscription
 *
 * Requests end by `done`, once: with status 0 and a reply (which may be the server's error), or < 0 and the reason as the reply's
 * text. No function here calls back into an exchange: a call ends by mg_op_end, which only queues. */
#ifndef MG_SERVICE_REDIS_PARTS_H
#define MG_SERVICE_REDIS_PARTS_H

#include "service/redis.h"
#include "base/map.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "net/tls.h"
#include "service/dns.h"

enum { MG_REDIS_SLOTS = 16384, MG_REDIS_NAME_MAX = 256, MG_REDIS_HOSTS_MAX = 64, MG_REDIS_SHARED_MAX = 16, MG_REDIS_WHY_MAX = 320 };

/* ---- what a client is ---- */

enum mg_redis_mode { MG_REDIS_SINGLE = 0, MG_REDIS_SENTINEL, MG_REDIS_CLUSTER };
struct mg_redis_host { char name[MG_REDIS_NAME_MAX]; int port; }; /* port 0: name is the path of a Unix socket */
struct mg_redis_login { struct mg_str user, password; };

/* Counted by all workers. */
struct mg_redis_counts {
    _Atomic uint64_t requests;       /* commands and transactions that ended */
    _Atomic uint64_t errors;         /* of these, answered by the server with an error */
    _Atomic uint64_t failures;       /* of these, without an answer */
    _Atomic uint64_t connections;    /* ever */
    _Atomic int64_t open;
};

struct mg_redis {
    struct mg_redis_counts counts;
    int refs, opened;                /* who holds it; who of them is a plugin. Under the table's lock */
    struct mg_str key;               /* its options, in order */
    struct mg_arena arena;
    enum mg_redis_mode mode;
    struct mg_redis_host hosts[MG_REDIS_HOSTS_MAX]; /* the server, the sentinels, the cluster's seeds */
    int hosts_n;
    struct mg_str master;            /* of sentinels: the name of the set */
    struct mg_redis_login login, sentinel_login;
    struct mg_str name;              /* CLIENT SETNAME; empty: none */
    int db;
    struct mg_tls *tls;              /* NULL: plain */
    struct mg_str server_name;
    int64_t connect_ms, timeout_ms, keepalive_ms;
    int64_t connections, shared, queue, redirects;
    int64_t queue_bytes, reply_max, messages, messages_bytes;
};
/* Counted references by the core (a worker's client). */
void mg_redis_ref(struct mg_redis *r);
/* Each client there is, under the table's lock. */
void mg_redis_all(void (*fn)(void *arg, struct mg_redis *r), void *arg);
void mg_redis_unref(struct mg_redis *r);
bool mg_redis_is_open(struct mg_redis *r);

/* ---- requests ---- */

struct mg_redis_request {
    struct mg_list node;             /* in a connection's or a server's list, or in the client's `pending` */
    struct mg_redis_client *client;
    struct mg_redis_conn *conn;      /* that it is given to; NULL: none yet */
    struct mg_redis_server *target;  /* where a redirection sends it; NULL: by mode and slot */
    char *wire;                      /* free() */
    size_t wire_n;
    int replies_n, replies_got;      /* of a transaction: one for each command, the last one counts */
    int skip;                        /* replies before them: ASKING's */
    struct mg_redis_reply *reply;
    char *first_error;               /* of a transaction: why EXEC will refuse */
    int slot;                        /* -1: any */
    uint32_t affinity;               /* requests of one exchange take the same shared connection */
    bool is_sent, is_idempotent, blocks, asks, is_internal;
    uint8_t tries, redirects;
    struct mg_timer later;           /* before it is routed again */
    void (*done)(struct mg_redis_request *q, int status); /* takes q->reply when it sets it to NULL. NULL: nobody wants it */
    void *owner;
    int index;
};
/* Takes `wire`. NULL: out of memory (wire is freed). */
struct mg_redis_request *mg_redis_request_new(struct mg_redis_client *c, char *wire, size_t wire_n);
/* Ends: done, then freed. why: text for a status < 0. */
void mg_redis_request_end(struct mg_redis_request *q, int status, const char *why);
/* Nobody wants it any more: forgotten, or read and dropped. */
void mg_redis_request_drop(struct mg_redis_request *q);
/* Send it where it belongs, now or when that is known. */
void mg_redis_route(struct mg_redis_request *q);
/* Its reply is there: end it, or follow what the server says (MOVED…). */
void mg_redis_answered(struct mg_redis_request *q);
/* Its connection has gone. */
void mg_redis_request_lost(struct mg_redis_request *q, int code, const char *why);

/* ---- connections ---- */

enum mg_redis_use { MG_REDIS_SHARED = 0, MG_REDIS_OWN, MG_REDIS_PUSHED }; /* many requests; one that blocks; a subscription */
enum mg_redis_state { MG_REDIS_CONNECTING = 0, MG_REDIS_GREETING, MG_REDIS_READY, MG_REDIS_CLOSING };

struct mg_redis_conn {
    struct mg_list node;             /* in the server's conns */
    struct mg_redis_server *server;  /* NULL once it closes */
    enum mg_redis_use use;
    enum mg_redis_state state;
    bool is_idle;                    /* of MG_REDIS_OWN: nobody has it */
    int greeting_n, greeting_at;
    struct mg_str greeting[4];       /* what was asked, for messages */
    bool checks_role;
    struct mg_stream stream;
    struct mg_redis_reader *reader;
    struct mg_redis_reply *scratch;  /* replies that no request waits for */
    struct mg_list waiting, sent;    /* requests */
    struct mg_timer timer;
    int64_t began_ms, heard_ms, idle_ms, asked_ms; /* loop times; asked: since when an answer is due, 0: none is */
    bool pinged;
    struct mg_redis_sub *sub;
    struct mg_dns_lookup lookup;     /* of the server's name */
};
struct mg_redis_conn *mg_redis_conn_new(struct mg_redis_server *s, enum mg_redis_use use); /* NULL: out of memory */
void mg_redis_conn_give(struct mg_redis_conn *c, struct mg_redis_request *q);
void mg_redis_conn_write(struct mg_redis_conn *c, const char *p, size_t n);
/* It closes: its requests are lost. A connection that was never ready marks its server as down. */
void mg_redis_conn_fail(struct mg_redis_conn *c, int code, const char *why);
bool mg_redis_conn_is_busy(const struct mg_redis_conn *c);
/* Connect, now that the server's address is known. */
void mg_redis_conn_connect(struct mg_redis_conn *c);
/* Resolve the server's name, then mg_redis_conn_connect, or mg_redis_conn_fail; never inside the call. */
int mg_redis_lookup_start(struct mg_redis_conn *c);

/* ---- servers ---- */

struct mg_redis_server {
    struct mg_list node;             /* in the client's servers */
    struct mg_redis_client *client;
    struct mg_redis_host host;
    char text[MG_REDIS_NAME_MAX + 8]; /* "host:port", for messages */
    bool is_sentinel, is_wanted;
    struct mg_address address;
    bool is_name;                    /* host is one: it is asked for with each connection, and `address` is the last answer */
    unsigned address_at;             /* which of the answer's: the next one after a failure */
    struct mg_list conns;
    int conns_n, own_n;
    struct mg_redis_conn *shared[MG_REDIS_SHARED_MAX];
    struct mg_list waits;            /* requests that wait for a connection of their own */
    int64_t down_until_ms, backoff_ms;
    int down_code;
    char down_why[MG_REDIS_WHY_MAX];
};
struct mg_redis_server *mg_redis_server_of(struct mg_redis_client *c, const char *host, size_t host_n, int port, bool is_sentinel);
void mg_redis_server_free(struct mg_redis_server *s); /* without connections */
void mg_redis_server_send(struct mg_redis_server *s, struct mg_redis_request *q);
/* A connection for a subscription. NULL: it is down (server->down_why) or memory is short. */
struct mg_redis_conn *mg_redis_server_push(struct mg_redis_server *s, struct mg_redis_sub *sub);
bool mg_redis_server_is_down(const struct mg_redis_server *s);
void mg_redis_server_down(struct mg_redis_server *s, int code, const char *why);
void mg_redis_server_up(struct mg_redis_server *s);
/* A connection of its own has become free, or has gone. */
void mg_redis_server_next(struct mg_redis_server *s);

/* ---- a client on a worker ---- */

struct mg_redis_client {
    struct mg_list node;             /* in the worker's */
    struct mg_redis *conf;
    struct mg_worker *worker;
    struct mg_loop *loop;
    struct mg_list servers, subs;
    struct mg_list pending;          /* requests that wait for the master, or for the map of slots */
    struct mg_redis_server *master;  /* single, sentinel; NULL: not known */
    struct mg_redis_server **slots;  /* cluster; NULL: not known */
    bool is_stale, is_asking, is_closed;
    int asked_n;                     /* sentinels or nodes asked in this round */
    uint32_t turn;                   /* whom to begin with */
    int64_t asked_ms;
    int failed_code;
    char failed_why[MG_REDIS_WHY_MAX];
    int64_t failed_until_ms;
    int64_t requests_n, bytes;       /* on their way, for plugins */
    struct mg_timer house;           /* what nobody needs any more goes by it */
};
struct mg_redis_local { struct mg_list clients; };
/* This worker's client; NULL: out of memory. */
struct mg_redis_client *mg_redis_client_here(struct mg_worker *w, struct mg_redis *r);
/* Take down the clients that no plugin has any more. Posted to each worker. */
void mg_redis_sweep(struct mg_worker *w, void *arg);
/* Which server a subscription goes to; NULL: not known yet (a round of questions has begun), or nobody. */
struct mg_redis_server *mg_redis_any_server(struct mg_redis_client *c);
/* The master or the map is out of date: ask anew. */
void mg_redis_ask_again(struct mg_redis_client *c);
void mg_redis_ask(struct mg_redis_client *c);   /* redis_topology.c */
/* The round has ended: pending requests go on, or fail. */
void mg_redis_asked(struct mg_redis_client *c, int code, const char *why);
void mg_redis_topology_sweep(struct mg_redis_client *c);

/* ---- subscriptions ---- */

void mg_redis_sub_ready(struct mg_redis_sub *sub);
void mg_redis_sub_pushed(struct mg_redis_sub *sub, struct mg_redis_reply *reply); /* takes it */
void mg_redis_sub_lost(struct mg_redis_sub *sub, int code, const char *why);
void mg_redis_subs_pending(struct mg_redis_client *c);
void mg_redis_subs_close(struct mg_redis_client *c);
/* x ends. */
void mg_redis_subs_end(struct mg_exchange *x);

/* ---- calls, as core/pdk sees them ---- */

/* One command, n (a list of replies comes), or n as one transaction (the reply of EXEC). argv: the words of all, argc: how many
 * each has. timeout_ms 0: the client's. Returns the operation's number, or MG_EBUSY, MG_EINVAL, MG_ETOOBIG, MG_ENOMEM. */
int mg_redis_start(struct mg_exchange *x, struct mg_redis *r, const struct mg_str *argv, const int *argc, int n, int flags,
                   bool is_list, int64_t timeout_ms);
/* Before an exchange's first operation: replies go with it. false: out of memory. */
bool mg_redis_replies_begin(struct mg_exchange *x);
struct mg_redis_reply *mg_redis_reply_of(struct mg_exchange *x, int op);
void mg_redis_reply_release(struct mg_exchange *x, int op);
/* Give x a reply of its own for `op`: kept until it ends or is released. NULL: out of memory. */
struct mg_redis_reply *mg_redis_reply_keep(struct mg_exchange *x, int op, struct mg_redis_reply *reply);
int mg_redis_sub_start(struct mg_exchange *x, struct mg_redis *r, const struct mg_str *names, int n, int flags);
int mg_redis_sub_receive(struct mg_exchange *x, int sub, int64_t timeout_ms);
int mg_redis_sub_end(struct mg_exchange *x, int sub);

#endif
