/* h1.h - the HTTP/1.1 codec on one connection (RFC 9112), on llhttp in strict mode.
 *
 * Nobody sees a head before it is whole and framing.c has passed it. Its lines are counted as they come; bytes that do
 * not make a whole head (or chunk line, or trailer section) yet are kept in one contiguous buffer. When the empty line is
 * there the head is copied once into the leg's arena and parsed there, so that an answer never depends on how
 * the bytes were cut, and a client that sends one byte at a time costs no more than linear time. Bodies are
 * measured here, not by llhttp: lengths and codings have one reader, framing.c. Body bytes go up uncopied.
 *
 * One exchange at a time: pipelined bytes wait (up to one read buffer, then reading pauses) until the leg is released.
 *
 *   FIRST -> HEAD -> LENGTH | CHUNK_LINE <-> CHUNK_DATA -> TRAILERS | UNTIL_CLOSE -> ENDING -> WHOLE -> FIRST
 *              any: -> REFUSED (the peer broke the rules or left: input is dropped), -> CLOSING (answers are flushed,
 *              the client may still read them) -> done
 *
 * Server role: `on_begin` is asked for an owner when the first byte of a request comes (one empty line before it is passed
 * over). The codec answers nothing by itself, except that it closes the connection after a response when it must:
 * a refused or half-read request leads to a lingering close, so that the client gets the answer.
 * A refusal comes as on_reset with a status, at the head or (400) in the body as long as no answer has begun;
 * the same leg then takes the answer.
 * Client role (upstream): mg_h1_start puts an exchange on an idle connection.
 *
 * `release`, `resume` and `mg_h1_feed` may raise events before they return, of the next exchange as well: call them last.
 * The codec's memory must outlive its events: never call mg_h1_deinit in one (mg_stream_close is fine; deinit belongs
 * in on_closed). */
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
    /* Nothing is under way and the connection may serve another exchange. The last thing that a call raises: mg_h1_start
     * or mg_h1_drain in it is fine. */
    void (*on_idle)(struct mg_h1 *h);
    /* The connection is of no further use (peer closed while idle, or after the last response) and
     * all output is flushed: close the stream. Once. A cut message has been aborted already (mg_stream_abort). */
    void (*on_done)(struct mg_h1 *h);
};

struct mg_h1_linger; /* h1.c: the timer of a closing connection */

struct mg_h1 {
    struct mg_leg leg;
    struct mg_stream *stream;            /* borrowed; its events are fed in by the owner through mg_h1_feed… */
    const struct mg_h1_events *events;
    const struct mg_h1_limits *limits;   /* borrowed */
    void *owner;
    char *kept;                          /* bytes that wait: pipelined, paused, or part of a head; NULL when none do */
    uint32_t kept_n, kept_from, kept_room;
    uint32_t scanned, line_from, lines;  /* of an incomplete head, chunk line or trailer section */
    uint32_t rest;                       /* while feeding: bytes in hand that the step in progress was given */
    int64_t left_in;                     /* body or chunk bytes still to come */
    int64_t left_out;                    /* body bytes still owed when a length was promised */
    uint32_t extra_in;                   /* chunk extensions so far; bytes thrown away after an early answer */
    uint32_t requests;                   /* messages so far */
    struct mg_headers *trailers;         /* between their parsing and on_end */
    struct mg_h1_linger *linger;
    int end_status;                      /* of the stream, once peer_ended */
    uint8_t state, to_method, blank;
    unsigned is_server : 1, is_busy : 1, keep_alive : 1, half_close : 1, chunked_out : 1, length_out : 1, head_out : 1,
             no_body_out : 1, drains : 1, is_feeding : 1, peer_ended : 1, is_done : 1, peer_http10 : 1, wants_continue : 1,
             trailers_out : 1, is_cut : 1, is_mute : 1, is_held : 1, line_checked : 1, told_idle : 1, lingers : 1;
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
/* This thread's spare buffers; call at its end. */
void mg_h1_thread_deinit(void);

#endif
