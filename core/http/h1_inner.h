/* h1_inner.h - what the files of the HTTP/1 codec share: h1.c (connection), h1_read.c, h1_head.c, h1_write.c. */
#ifndef MG_HTTP_H1_INNER_H
#define MG_HTTP_H1_INNER_H

#include "http/framing.h"
#include "http/h1.h"

enum mg_h1_state {
    MG_H1_FIRST = 0,    /* nothing has come of a message */
    MG_H1_HEAD,
    MG_H1_LENGTH,
    MG_H1_CHUNK_LINE,
    MG_H1_CHUNK_DATA,
    MG_H1_CHUNK_CRLF,
    MG_H1_TRAILERS,
    MG_H1_UNTIL_CLOSE,
    MG_H1_ENDING,       /* all is there; on_end is due */
    MG_H1_WHOLE,        /* read to its end; the leg is not released */
    MG_H1_REFUSED,      /* what comes is dropped */
    MG_H1_CLOSING       /* no exchange any more; output is flushed, or the client reads on */
};

enum {
    MG_H1_CHUNK_LINE_MAX = 1024,     /* a chunk's size with its extensions */
    MG_H1_EXTENSIONS_MAX = 16384,    /* all extensions of a body: nobody uses them, but they cost us time */
    MG_H1_DISCARD_MAX = 65536,       /* what is read of a request after its answer, to keep the connection */
    MG_H1_LINGER_MS = 5000,          /* how long a client has to take the last answer while it still sends */
    MG_H1_STUCK_MS = 30000           /* a closing connection whose peer takes no bytes */
};

static inline struct mg_h1 *mg_h1_of(struct mg_leg *leg) { return (struct mg_h1 *)leg; } /* its first member */

/* A step of reading: take bytes off p, n. Returns how many, or -1 when more must come first. */
long mg_h1_step(struct mg_h1 *h, const char *p, size_t n);
/* Bytes up to and with the first empty line, watching limits; 0: not there yet, -1: refused (*no filled). */
long mg_h1_scan_head(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no);
/* A whole head: copied, parsed, judged. NULL: refused (*no filled). */
struct mg_head *mg_h1_read_head(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no);
/* A whole trailer section, with its empty line. NULL: refused, or out of memory. */
struct mg_headers *mg_h1_read_trailers(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no);

/* The exchange cannot go on: tell its owner once. status: see leg.h. */
void mg_h1_fail(struct mg_h1 *h, int error, int status, const char *why);
/* The message was read to its end. */
void mg_h1_message_over(struct mg_h1 *h);
/* Ready for another message. */
void mg_h1_next(struct mg_h1 *h);
/* What a pause holds back: body bytes, and the end behind them; not the end of a message without a body. */
static inline bool mg_h1_is_body(const struct mg_h1 *h)
{
    return h->state >= MG_H1_LENGTH && (h->state < MG_H1_ENDING || (h->state == MG_H1_ENDING && h->leg.body_bytes_in > 0));
}

extern const struct mg_leg_ops mg_h1_ops_server, mg_h1_ops_client;
void mg_h1_release(struct mg_leg *leg);
void mg_h1_pause(struct mg_leg *leg);
void mg_h1_resume(struct mg_leg *leg);

#endif
