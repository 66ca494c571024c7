/* leg.h - one side of an exchange, whatever protocol it speaks: the client's or the upstream's.
 *
 * A codec raises events (head, data, end, reset) and takes commands (send head, send data, send end,
 * pause, resume, reset). They are the same for HTTP/1 and HTTP/2, client and upstream, so that any
 * pairing works; the proxy knows nothing else of a protocol. A codec embeds a leg for each stream of messages.
 *
 *   client leg:    on_begin on_head on_data* on_end    then send_head send_data* send_end
 *   upstream leg:  send_head send_data* send_end       then on_interim* on_head on_data* on_end
 *
 * Either order may overlap. After on_reset nothing more is raised; the owner still calls `release`. */
#ifndef MG_HTTP_LEG_H
#define MG_HTTP_LEG_H

#include "http/message.h"
#include "net/stream.h"

struct mg_leg;

struct mg_leg_events {
    /* A whole head. It lives in leg->arena. */
    void (*on_head)(struct mg_leg *leg, struct mg_head *head);
    /* 1xx but 101; upstream legs only. */
    void (*on_interim)(struct mg_leg *leg, struct mg_head *head);
    /* A piece of the body; the bytes are valid during the call. leg->at_end: the last one, and on_end follows at once,
     * without trailers. A body whose end is seen later only (chunks, a close) ends in an on_end of its own. */
    void (*on_data)(struct mg_leg *leg, struct mg_str bytes);
    /* The message is complete; trailers are NULL when there are none. Also directly after on_head when there is no body. */
    void (*on_end)(struct mg_leg *leg, struct mg_headers *trailers);
    /* The peer broke off or broke the rules: MG_ECLOSED, MG_EPROTO (`why` a word for the log), MG_ETIMEOUT,
     * MG_ETOOBIG, UV_E*. status: for a client leg whose head or body broke the rules before an answer began, the status to
     * answer on the same leg (400, 413, 414, 417, 431, 501, 503, 505; on_drain is still raised for it), else 0. */
    void (*on_reset)(struct mg_leg *leg, int error, int status, const char *why);
    /* Output has drained after MG_FULL. */
    void (*on_drain)(struct mg_leg *leg);
};

struct mg_leg_ops {
    /* The head's fields are serialised before it returns. Pass MG_MORE when data or the end follows in
     * this turn. 0, MG_FULL, or < 0 (nothing was sent). */
    int (*send_head)(struct mg_leg *leg, const struct mg_head *head, int flags);
    int (*send_interim)(struct mg_leg *leg, const struct mg_head *head); /* client legs: 100, 103… */
    int (*send_data)(struct mg_leg *leg, struct mg_str bytes, int flags);
    int (*send_end)(struct mg_leg *leg, const struct mg_headers *trailers /* or NULL */);
    /* Hold back on_data: as soon as possible, but what was already read is kept and raised after resume. */
    void (*pause)(struct mg_leg *leg);
    void (*resume)(struct mg_leg *leg);
    /* The owner has done with the leg. A message that is not complete in both directions closes the
     * connection (HTTP/1: with a TCP reset when a response was cut) or resets the stream (HTTP/2). */
    void (*release)(struct mg_leg *leg);
};

struct mg_leg {
    const struct mg_leg_ops *ops;
    const struct mg_leg_events *events;
    void *owner;                 /* the exchange */
    struct mg_arena *arena;      /* where heads and trailers are put; the owner's */
    struct mg_stream *stream;    /* the connection underneath, for addresses, TLS facts */
    uint64_t head_bytes_in, body_bytes_in, body_bytes_out, head_bytes_out;
    unsigned got_end : 1, at_end : 1, sent_end : 1, is_paused : 1, was_reset : 1;
};

#endif
