/* problem.h - the body of an answer that says what went wrong: RFC 9457, or the shape that the config sets. */
#ifndef MG_PDK_PROBLEM_H
#define MG_PDK_PROBLEM_H

#include "exchange/exchange.h"

/* Make the body and its content type for a status; detail may be empty. All in the exchange's arena. 0 or MG_ENOMEM. */
int mg_problem(struct mg_exchange *x, int status, struct mg_str detail, struct mg_str *type, struct mg_str *body);
/* The exchange's id, made when first asked for. */
struct mg_str mg_exchange_id(struct mg_exchange *x);

#endif
