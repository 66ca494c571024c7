/* http_inner.h - what the files of the HTTP client share; nobody else includes it.
 *
 *     http_call.c   making a call, sending it, letting go of it
 *     http_leg.c    its connection: events, time, failure, retries
 *     http_follow.c where a redirect leads
 *     http_body.c   bodies, whole and in pieces
 *     http_seam.c   what is asked of a simulated world in place of the network
 *     http_text.c   messages as text */
#ifndef MG_SERVICE_HTTP_INNER_H
#define MG_SERVICE_HTTP_INNER_H

#include "service/http.h"

/* http_leg.c */
void mg_call_connect(struct mg_call *c);                     /* begin, or begin again */
void mg_call_connect_with(struct mg_call *c, struct mg_http_host *host, int error); /* its host is known; NULL: why not */
void mg_call_release(struct mg_call *c);                     /* the connection, or the wait for one; and the host */
void mg_call_fail(struct mg_call *c, int error, const char *token, const char *words);
const char *mg_call_token(int error);                        /* for a simulated failure that names none */
void mg_call_pump(struct mg_call *c);                        /* send what waits in `out` */
void mg_call_watch(struct mg_call *c);                       /* time begins anew */
void mg_call_op_end(struct mg_op **op, int status);          /* if it is under way */

/* http_call.c */
bool mg_call_trust(struct mg_call *c);                       /* have its TLS settings read; false: it has failed */
void mg_call_untrust(struct mg_call *c);                     /* they are not waited for any more */

/* http_follow.c */
bool mg_call_follows(const struct mg_call *c, const struct mg_head *res);
int mg_call_follow(struct mg_call *c, const struct mg_head *res, const char **token, const char **why); /* url and request for the next hop */

/* http_body.c */
bool mg_grown_put(struct mg_grown *h, const char *p, size_t n); /* false: out of memory */
void mg_grown_free(struct mg_grown *h);
int mg_call_take(struct mg_call *c, struct mg_str bytes);    /* of the answer's body: 0, MG_ETOOBIG, MG_ENOMEM */
void mg_call_serve(struct mg_call *c);                       /* whoever reads, if there is something for him */

/* http_seam.c; each begins an op that the seam may take. NULL: over budget */
struct mg_op *mg_call_op(struct mg_call *c, void (*cancel)(struct mg_op *));
struct mg_call *mg_call_of(const struct mg_op *op);          /* NULL: closed */
bool mg_call_asks(struct mg_call *c, struct mg_op *op);      /* http, http.head. true: simulated */
bool mg_call_asks_read(struct mg_call *c, struct mg_op *op);
bool mg_call_asks_write(struct mg_call *c, struct mg_op *op, struct mg_str bytes);
void mg_call_says_end(struct mg_call *c);

/* http_text.c; false: out of memory */
bool mg_http_text_request(const struct mg_call *c, struct mg_grown *out);
bool mg_http_text_response(const struct mg_call *c, struct mg_grown *out);
bool mg_http_text_fields(const struct mg_headers *h, struct mg_grown *out);
struct mg_http_text_message { struct mg_head *head; struct mg_headers *trailers; bool says_length /* or has a body, or cannot have one */; };
/* Heads go to the arena, the body to `body`. 0, MG_EPROTO, MG_ENOMEM. */
int mg_http_text_parse(struct mg_str text, int to_method, struct mg_arena *a, struct mg_http_text_message *m, struct mg_grown *body);
int mg_http_text_parse_fields(struct mg_str text, struct mg_arena *a, struct mg_headers *h);

#endif
