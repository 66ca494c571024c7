/* run.h - between the rooms of the proxy: the steps of an exchange, and who may end it.
 *
 * Any event may end the exchange that it came for. So whoever calls in from outside (a leg's event, a timer, an
 * ended operation) brackets the call with mg_run_enter and mg_run_leave; memory goes back at the outermost leave. */
#ifndef MG_PROXY_RUN_H
#define MG_PROXY_RUN_H

#include "proxy/client.h"

/* run.c */
void mg_run_enter(struct mg_exchange *x);
void mg_run_leave(struct mg_exchange *x);
void mg_run_begin(struct mg_exchange *x);        /* a fresh exchange: its timers */
void mg_run(struct mg_exchange *x);              /* go on from x->state */
void mg_run_fail(struct mg_exchange *x, int status, const char *failure, const char *detail); /* answer, or cut what has begun */
void mg_run_refuse(struct mg_exchange *x, int status, const char *failure, const char *detail); /* the request is broken or late */
void mg_run_refused(struct mg_exchange *x, int side); /* a body that a plugin asked for whole is not to be had */
void mg_run_client_left(struct mg_exchange *x);
bool mg_run_waits_for_body(const struct mg_exchange *x); /* then the sender's timeouts watch over it, not the plugin's */
void mg_run_route(struct mg_exchange *x);        /* find the route: x->state is MG_ST_REQUEST then, or an answer was made */
void mg_run_end(struct mg_exchange *x);          /* response complete or given up: log, release both legs */
extern const struct mg_leg_events mg_client_leg_events;

/* upside.c: the upstream's side */
int mg_up_take(struct mg_exchange *x);           /* 1: connected, 0: waiting, < 0: answered */
int mg_up_send_head(struct mg_exchange *x);
void mg_up_release(struct mg_exchange *x);       /* let go of the connection, or stop waiting for one */
void mg_up_failed(struct mg_exchange *x, int error, const char *why);
void mg_up_watch(struct mg_exchange *x, int64_t ms, bool first_byte);
/* What the client gets for a failure's token ("connect_refused", "timeout"…); status 0 when there is no such token. */
struct mg_up_failure { int status; const char *token, *detail; };
struct mg_up_failure mg_up_failure(const char *token);
struct mg_up_failure mg_run_refusal(const struct mg_exchange *x, int side); /* of a body whose gather is MG_GATHER_REFUSED */

/* pieces.c: bodies */
void mg_pieces_request(struct mg_exchange *x, struct mg_str bytes, bool last);
void mg_pieces_request_body_set(struct mg_exchange *x, struct mg_head *out); /* how the request's body will be framed */
/* The response's head as it goes out, now that the chain has seen it: how its body will be framed. Does a body follow? */
bool mg_pieces_response_body_set(struct mg_exchange *x);
void mg_pieces_response(struct mg_exchange *x, struct mg_str bytes, bool last);
void mg_pieces_request_flow(struct mg_exchange *x);  /* pause or resume the client leg, as the state asks */
void mg_pieces_response_flow(struct mg_exchange *x);
void mg_pieces_begin_request(struct mg_exchange *x); /* the upstream is there: send what was gathered, let the rest flow */
/* Can the request's body be sent once more, from its beginning? There is none, or it is kept whole, and no body step would see it twice. */
bool mg_pieces_may_repeat_request(const struct mg_exchange *x);
void mg_pieces_repeat_request(struct mg_exchange *x);
void mg_pieces_begin_response(struct mg_exchange *x);
void mg_pieces_feeds(struct mg_exchange *x);         /* those who make bodies may go on */
void mg_pieces_wake(struct mg_exchange *x);          /* a body step that waited may go on */
/* What would move the body of a side on. `open`: its receiver is there, and takes bytes.
 * A piece that is made (feed.h): somebody would take it, the receiver or an entry that wants the body whole. */
bool mg_pieces_wants(const struct mg_exchange *x, int side, bool open);
bool mg_pieces_wants_decoded(const struct mg_exchange *x, int side, bool open); /* a piece of the decoder's (recode.h) */
/* The sender's next; passes: what comes goes on to the receiver, or is dropped. */
bool mg_pieces_wants_sent(const struct mg_exchange *x, int side, bool passes);
/* The end came before anybody asked for the body, and not a byte with it: whoever asks now is to hear of it. */
bool mg_pieces_end_is_due(const struct mg_exchange *x, int side);

/* forward.c: fields and paths that a proxy changes */
int mg_forward_facts(struct mg_exchange *x);     /* host, scheme, client address from what trusted proxies say */
int mg_forward_request(struct mg_exchange *x, struct mg_head *out); /* the head for the upstream */
void mg_forward_response(struct mg_exchange *x);

/* answer.c */
void mg_answer_recorded(struct mg_exchange *x);  /* what a plugin recorded becomes the response */
void mg_answer_redirect(struct mg_exchange *x, int status, int port);

#endif
