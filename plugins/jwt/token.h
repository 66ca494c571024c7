/* token.h - a token taken apart, and what its claims say.
 *
 * token_open splits and decodes; nothing in it is trusted until jwt_key_verify has said yes to `signed_text` and
 * `signature`. Claims are read by path: a name, or names with dots between for nested objects. */
#ifndef JWT_TOKEN_H
#define JWT_TOKEN_H

#include "key.h"

struct token {
    struct mg_str whole, signed_text, signature;
    struct mg_json *header, *claims;
    struct mg_str algorithm, kid, type; /* of the header; empty when absent */
};

/* Take `text` apart; `room` is memory of text.n bytes that outlives the token. NULL, or what is wrong with it (a
 * sentence for the client). token_close either way. */
const char *token_open(struct token *t, struct mg_str text, uint8_t *room);
void token_close(struct token *t);

/* Is a claim there twice? Readers differ in which one counts (RFC 8725, 2.4; RFC 7519, 4). */
bool claims_have_twins(struct mg_json *claims);
/* The claim's node, or -1. */
int claim_find(struct mg_json *claims, struct mg_str path);
/* A scalar as text: a string's text, a number's digits, true, false; false for anything else. */
bool claim_text(struct mg_json *claims, int node, struct mg_str *out);
/* Is `value` the claim, one of its elements, or (words) one of its space-separated words? */
bool claim_has(struct mg_json *claims, int node, struct mg_str value, bool words);

enum claim_time { TIME_ABSENT, TIME_GIVEN, TIME_BAD };
/* A NumericDate in milliseconds since 1970. */
enum claim_time claim_time(struct mg_json *claims, const char *name, int64_t *ms);

#endif
