/* redis.h - a client of Redis: one server, a set watched by sentinels, or a cluster.
 *
 * hiredis formats commands and reads replies (RESP2); connections are our own streams, so TLS and Unix sockets come by
 * themselves. What a client is (struct mg_redis: addresses, names, limits) is immutable, counted and found by its options, so
 * that every VM and every snapshot that names the same server shares it. What it has on a worker (struct mg_redis_client:
 * servers, connections, queues) belongs to that worker and outlives reloads.
 *
 *     exchange ── call ──┬─ request ─┐
 *                        └─ request ─┤ route: the server, the master, or the owner of the key's slot
 *     exchange ── call ───  request ─┴──> shared connection   many exchanges' commands, in order, answers in order
 *     exchange ── call ───  BLPOP …  ───> connection of its own, from the server's idle ones
 *     task ── subscription ─────────────> connection of its own, subscribed again after a break
 *
 * A call is cancelled with its exchange: what was not sent is forgotten, the answer of what was sent is dropped in its turn.
 * A request that was sent is sent again only when its caller said that it may be (MG_REDIS_IDEMPOTENT), or when the server
 * answered that it did nothing (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, a former master's READONLY).
 *
 * Through the seam (exchange/outside.h), service "redis": the question is the command in RESP (a pipeline: its commands one
 * after the other; a transaction: MULTI … EXEC), the answer the reply in RESP (a pipeline: its replies one after the other; a
 * transaction: EXEC's, which may have those of the other commands before it). With a negative status the answer is the reason as
 * text. "redis.subscribe": the SUBSCRIBE or PSUBSCRIBE command; no answer is looked at. "redis.receive": the question is RECEIVE (a
 * command that Redis does not have), the answer the pushed message in RESP: message, channel, payload. */
#ifndef MG_SERVICE_REDIS_H
#define MG_SERVICE_REDIS_H

#include "exchange/outside.h"

struct mg_redis_local;

/* Take all connections of this worker down, at its end: no exchange is left. Their memory goes as the loop closes them. */
void mg_redis_worker_close(struct mg_worker *w);

/* What has been counted of a client, by all workers. Clients of the same server, database and name are one here. */
struct mg_redis_stat {
    char server[300];                /* "host:port" of the first one, "unix:/path" */
    char name[100];                  /* CLIENT SETNAME; "" */
    int db;
    uint64_t requests, errors, failures, connections;
    int64_t open;
};
/* Walk over them; at most 256. Any thread. */
void mg_redis_each(void (*fn)(void *arg, const struct mg_redis_stat *s), void *arg);

/* ---- replies ------------------------------------------------------------------------------- */

/* A tree as nodes in the order of the text, and the bytes that they name. */
struct mg_redis_reply {
    struct mg_redis_reply *next;     /* of the same exchange */
    int op;                          /* whose reply it is */
    struct mg_redis_node *nodes;
    size_t n, room;
    char *text;
    size_t text_n, text_room;
    size_t bytes_max;                /* of nodes and text; 0: no limit */
    int error;                       /* MG_ETOOBIG, MG_ENOMEM: it could not be kept */
    bool is_list;                    /* of a pipeline: node 0 is ours */
    bool is_dropped;                 /* nobody wants it: read, not kept */
};
struct mg_redis_reply *mg_redis_reply_new(size_t bytes_max); /* NULL: out of memory */
void mg_redis_reply_free(struct mg_redis_reply *r);
void mg_redis_reply_clear(struct mg_redis_reply *r);
/* The text of a string, status or error; empty for the others. */
struct mg_str mg_redis_reply_text(const struct mg_redis_reply *r, size_t node);
/* Make it one error node with that text. 0 or MG_ENOMEM. */
int mg_redis_reply_say(struct mg_redis_reply *r, struct mg_str why);
/* Begin a list of `count` that mg_redis_reply_join fills. 0, MG_ENOMEM. */
int mg_redis_reply_list(struct mg_redis_reply *r, int count);
int mg_redis_reply_join(struct mg_redis_reply *r, const struct mg_redis_reply *part);
/* Set the `next` of all nodes, once all are there. */
void mg_redis_reply_finish(struct mg_redis_reply *r);
/* The RESP of node `from` and all in it, appended to *out (heap, *out_n of *room bytes). 0 or MG_ENOMEM. */
int mg_redis_reply_resp(const struct mg_redis_reply *r, size_t from, char **out, size_t *out_n, size_t *room);

/* Bytes in, replies out. */
struct mg_redis_reader;
struct mg_redis_reader *mg_redis_reader_new(void); /* NULL: out of memory */
void mg_redis_reader_free(struct mg_redis_reader *r);
int mg_redis_reader_feed(struct mg_redis_reader *r, const char *p, size_t n);
/* The next reply, appended to `into`: the same one at every call until it is whole. 1: it is; 0: more bytes are needed;
 * MG_EPROTO, MG_ETOOBIG, MG_ENOMEM: the reader is of no more use. */
int mg_redis_reader_next(struct mg_redis_reader *r, struct mg_redis_reply *into);
const char *mg_redis_reader_why(const struct mg_redis_reader *r);

/* ---- commands ------------------------------------------------------------------------------ */

/* A command in RESP; free with free(). NULL: out of memory. */
char *mg_redis_format(const struct mg_str *argv, int argc, size_t *n);
/* CRC16 of the key or of its {hash tag}, in 0…16383. */
int mg_redis_slot(struct mg_str key);
/* The index of a command's first key; 0: it has none. */
int mg_redis_key_index(const struct mg_str *argv, int argc);
/* What sort of command is it? */
enum mg_redis_sort {
    MG_REDIS_PLAIN = 0,
    MG_REDIS_BLOCKS,   /* may wait at the server: needs a connection of its own */
    MG_REDIS_STATEFUL  /* changes what the connection is (SELECT, MULTI, SUBSCRIBE…): refused */
};
enum mg_redis_sort mg_redis_sort_of(const struct mg_str *argv, int argc);
/* How long a blocking command may wait by its own words: milliseconds, 0: for ever, < 0: not known. */
int64_t mg_redis_block_ms(const struct mg_str *argv, int argc);

#endif
