/* jwt.h - the config of the jwt plugin and what it is compiled to. */
#ifndef JWT_JWT_H
#define JWT_JWT_H

#include "token.h"

struct claim_values {           /* of `claims`: a claim and the values that will do */
    struct mg_str claim;
    struct mg_array values;     /* of struct mg_str */
};
struct claim_target {           /* of `claims_to_headers` and `claims_to_ctx` */
    struct mg_str claim, name;
};
struct conf {
    struct mg_array headers, query, cookies; /* of struct mg_str: where a token may be */
    struct mg_array keys;       /* of struct jwt_key_conf */
    struct mg_str jwks;
    struct mg_str key_claim, consumer_claim, anonymous, realm, type;
    struct mg_array issuers, audiences, required, claims, scopes;
    struct mg_str scope_claim;
    int scopes_match;
    struct mg_array to_headers, to_ctx;
    int64_t leeway_ms, max_age_ms, max_bytes, cache;
    bool require_exp, hide;
};
enum { SCOPES_ALL, SCOPES_ANY };

struct instance {
    const struct conf *conf;
    struct jwt_key **keys;      /* of the entry; NULL-terminated */
    size_t keys_n;
    struct mg_array headers;
    bool is_default_place;
};
struct seen {                   /* a signature that was right */
    uint8_t digest[32];
    const struct jwt_key *key;
};
struct worker {
    EVP_MD_CTX *ctx;
    size_t seen_n;              /* a power of two, or 0 */
    struct seen seen[];
};

/* Why a request is refused. status 0: it is not. */
struct refusal {
    int status;
    const char *error;          /* RFC 6750, 3.1; NULL when there was no token at all */
    const char *description;
};

extern const struct mg_field jwt_fields[];
extern const struct mg_credential_kind jwt_credentials;

/* The entry's keys out of its config. 0, or < 0 with err filled. */
int jwt_keys_load(struct instance *in, const char *folder, struct mg_error *err);
void jwt_keys_unload(struct instance *in);

/* What does the config ask of the claims that they do not say? */
struct refusal jwt_claims_check(const struct conf *c, const struct token *t, int64_t now_ms);
/* Hand claims on as request fields and ctx values. < 0: over budget. */
int jwt_claims_hand_on(struct mg_x *x, const struct conf *c, struct mg_json *claims);

#endif
