/* words.h - questions and answers of the stores as bytes for the seam (exchange/outside.h). Only made when somebody listens. */
#ifndef MG_SERVICE_WORDS_H
#define MG_SERVICE_WORDS_H

#include "base/arena.h"

/* Parts with line feeds between; any bytes. p is NULL when out of memory. */
struct mg_str mg_words_join(struct mg_arena *a, const struct mg_str *parts, size_t n);
/* A value: n (nothing), t, f, d and a number's digits, s and a text. */
struct mg_str mg_words_of(struct mg_arena *a, const struct mg_datum *v);
/* The reverse; a text points into s. What is no such value is MG_NIL. */
void mg_words_take(struct mg_str s, struct mg_datum *out);

#endif
