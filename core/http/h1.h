/* h1.h - the HTTP/1.1 codec on one connection (RFC 9112), on llhttp in strict mode.
 *
 * The bytes of a head gather in one contiguous buffer, spans are offsets into it, and nobody sees it before it is
 * whole and framing.c has passed it; then it is copied once into the leg's arena. One exchange at a
 * time: pipelined bytes wait (up to one read buffer, then reading pauses) until the leg is released.
 *
 * Server role: `on_begin` is asked for an owner when the first byte of a request comes. The codec
 * answers nothing by itself, except that it closes the connection after a response when it must.
 * Client role (upstream): mg_h1_start puts an exchange on an idle connection. */
#ifndef MG_HTTP_H1_H
#define MG_HTTP_H1_H

#include "http/leg.h"

struct mg_h1;

struct mg_h1_limits {
    uint32_t head_bytes;     /* 431, 414 when the target alone exceeds target_bytes */
    uint32_t target_bytes;
    uint32_t headers_max;    /* 431 */
    uint32_t trailer_bytes;
};

struct mg_h1_events {
    /* Server: a request begins: set leg->owner, leg->events, leg->arena. false: refuse (the codec
     * closes). */
    bool (*on_begin)(struct mg_h1 *h, struct mg_leg *leg);
    /* Nothing is under way and the connection may serve another exchange. */
    void (*on_idle)(struct mg_h1 *h);
    /* The connection is of no further use (peer closed while idle, or after the last response) and
     * all output is flushed: close the stream. Once. */
    void (*on_done)(struct mg_h1 *h);
};

struct mg_h1 {
    struct mg_leg leg;
    struct mg_stream *stream;            /* borrowed; its events are fed in by the owner through mg_h1_feed… */
    const struct mg_h1_events *events;
    const struct mg_h1_limits *limits;   /* borrowed */
    void *owner;
    struct mg_h1_parser *parser;         /* taken from the worker's free list while a message is being read, so
                                          * that an idle connection stays small */
    char *kept;                          /* pipelined or paused bytes */
    uint32_t kept_n, kept_from;
    uint16_t requests;                   /* messages so far */
    unsigned is_server : 1, is_busy : 1, keep_alive : 1, half_close : 1, chunked_out : 1, head_out : 1, no_body_out : 1,
             drains : 1, is_head_request : 1, is_feeding : 1, peer_ended : 1, is_done : 1, peer_http10 : 1;
    int64_t left_out;                    /* body bytes still owed when a length was promised */
};

void mg_h1_init(struct mg_h1 *h, struct mg_stream *stream, bool is_server, const struct mg_h1_limits *limits,
                const struct mg_h1_events *events, void *owner);
void mg_h1_deinit(struct mg_h1 *h);
/* The stream's events. */
void mg_h1_feed(struct mg_h1 *h, const char *p, size_t n);
void mg_h1_ended(struct mg_h1 *h, int status);
void mg_h1_drained(struct mg_h1 *h);
/* Client: begin an exchange. The leg's owner, events and arena are set by the caller before. */
void mg_h1_start(struct mg_h1 *h, struct mg_leg **leg);
/* Server: answer the exchange in flight with connection: close, take no further request. */
void mg_h1_drain(struct mg_h1 *h);
/* The worker's free parsers; call at its end. */
void mg_h1_thread_deinit(void);

#endif
