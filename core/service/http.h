/* http.h - HTTP requests of our own: calls.
 *
 * A call is one request of an exchange (or of a task, which is an exchange without a client) to a named upstream or to a URL,
 * over the connections of core/upstream that the proxy uses as well. It has an arena of its own, so that a task which makes
 * a hundred thousand of them stays as small as one; its bodies are on the heap. core/pdk/http.c is the way of plugins to it.
 *
 *   NEW -> TRUSTING -> CONNECTING -> SENDING -> RECEIVING -> DONE
 *            |            |  ^          |  |       |
 *            |            |  +- retry --+  +-> SKIPPING (a redirect's body) -> CONNECTING
 *            +------------+-- FAILED ---+----------+
 *
 * TRUSTING: the files of its TLS settings are read, on the thread pool. Nothing here calls a plugin: what ends is an op, told in a
 * later turn. So a call may be closed at any point outside of this room's own functions.
 *
 * The seam (exchange/outside.h). Each of these is asked and told:
 *   "http"        a call that is sent whole. Question: the request as HTTP/1.1 text with an absolute URL in its first line
 *                 ("upstream://NAME/path" for a named upstream), and its body. Answer: status 0 and the response as HTTP/1.1
 *                 text (content-length or chunked; of an answer that says neither the rest of the text is the body); or a
 *                 negative status and "token: words". Redirects and retries are inside of it.
 *   "http.head"   a call that is streamed: the same, with `transfer-encoding: chunked` and no body in the question when that is
 *                 written later. An answer of more than a head is all of it, and its pieces are not asked for.
 *   "http.read"   question: the call's number in decimal. Answer: the length as status, and the bytes; 0 at the end, with
 *                 trailers as "name: value" lines.
 *   "http.write"  question: the call's number, a newline, the bytes. Status 0. While somebody listens every write is waited for.
 *   "http.end"    question: the call's number. Answered at once. */
#ifndef MG_SERVICE_HTTP_H
#define MG_SERVICE_HTTP_H

#include "exchange/outside.h"
#include "service/http_hosts.h"
#include "service/http_url.h"

enum { MG_CALLS_MAX = 64 }; /* open ones in an exchange */

enum mg_call_state {
    MG_CALL_NEW = 0, MG_CALL_TRUSTING, MG_CALL_CONNECTING, MG_CALL_SENDING, MG_CALL_SKIPPING, MG_CALL_RECEIVING, MG_CALL_DONE,
    MG_CALL_FAILED
};

/* Bytes on the heap that grow. */
struct mg_grown { char *p; size_t n, room; };

struct mg_call_load; /* TLS settings on their way (http_call.c) */

struct mg_call {
    struct mg_list node;             /* in x->calls */
    struct mg_exchange *x;
    int number;
    uint8_t state;                   /* enum mg_call_state */
    bool is_streamed;                /* mg_http_start */
    bool is_upload;                  /* its body is written later */
    bool out_ended;                  /* nothing follows what is in `out` */
    bool was_retried;
    bool is_simulated;               /* answered through the seam */
    bool is_here;                    /* all of the answer's body is in `in` */
    bool in_ended;                   /* and nothing follows it */
    bool is_full;                    /* the connection takes no more for now */
    struct mg_arena arena;           /* heads, URLs */

    /* where to */
    struct mg_url url;
    struct mg_str upstream_name;     /* of a named one; p NULL: a URL */
    const struct mg_upstream_spec *upstream;
    struct mg_http_host *host;       /* counted; NULL for a named upstream */
    struct mg_http_trust trust;      /* TLS options */
    struct mg_call_load *load;

    /* the request */
    struct mg_head req;
    struct mg_grown out;              /* whole, or what waits for room */
    size_t sent;                     /* bytes of it */
    int64_t upload_bytes;            /* announced; -1: not known */
    int64_t connect_ms, first_byte_ms, idle_ms; /* -1: the upstream's */
    int64_t total_ms;
    int64_t limit;
    int redirects_max, redirects;    /* that are followed; that may still be */

    /* the connection */
    struct mg_upconn_wait wait;
    struct mg_upconn *conn;
    struct mg_leg *leg;
    struct mg_timer io_timer, total_timer;
    int64_t active_ms;               /* when anything last moved */
    int64_t skipped;                 /* bytes of a redirect's body */

    /* the answer */
    struct mg_head *res;
    struct mg_headers *trailers;
    struct mg_grown in;               /* the body; streamed: what was not read yet */
    struct mg_grown piece;            /* streamed: the piece in the reader's hand */
    bool has_piece;

    int error;                       /* of FAILED */
    const char *token;
    struct mg_str words;             /* in the arena, or static */

    struct mg_op *op, *read_op, *write_op; /* under way */
};

/* The calls of an exchange; made with its first one. */
struct mg_calls { struct mg_list list; int n, last; };

/* http_call.c: making, sending, ending. All on the exchange's worker. */
/* NULL: *rc says why (MG_EBUSY, MG_ENOMEM, MG_EINVAL, MG_ENOENT). */
struct mg_call *mg_call_new(struct mg_exchange *x, struct mg_str method, struct mg_str url, int *rc);
struct mg_call *mg_call_to(struct mg_exchange *x, struct mg_str upstream, struct mg_str method, struct mg_str path, int *rc);
struct mg_call *mg_call_find(const struct mg_exchange *x, int number); /* NULL: no such one */

/* http_options.c: before it is sent. As in pdk.h. */
int mg_call_header(struct mg_call *c, struct mg_str name, struct mg_str value);
int mg_call_set_body(struct mg_call *c, struct mg_str bytes);
int mg_call_set(struct mg_call *c, int option, int64_t value);
int mg_call_set_text(struct mg_call *c, int option, struct mg_str text);
/* http_call.c */
/* Send: the number of an op, or < 0. */
int mg_call_send(struct mg_call *c);
int mg_call_start(struct mg_call *c, bool upload);
void mg_call_close(struct mg_call *c);

/* http_body.c: streams. As in pdk.h. */
int mg_call_write(struct mg_call *c, struct mg_str bytes);
int mg_call_end(struct mg_call *c);
int mg_call_read(struct mg_call *c);
bool mg_call_body(const struct mg_call *c, struct mg_str *out); /* false: not there */

#endif
