#include "jwt.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct refusal invalid(const char *description)
{
    return (struct refusal){ 401, "invalid_token", description };
}

static struct refusal check_times(const struct conf *c, struct mg_json *claims, int64_t now)
{
    int64_t t;
    enum claim_time is = claim_time(claims, "exp", &t);

    if (is == TIME_BAD || (is == TIME_ABSENT && c->require_exp))
        return invalid("the token does not say when it expires");
    if (is == TIME_GIVEN && now >= t + c->leeway_ms)
        return invalid("the token has expired");
    is = claim_time(claims, "nbf", &t);
    if (is == TIME_BAD || (is == TIME_GIVEN && now < t - c->leeway_ms))
        return invalid("the token is not valid yet");
    is = claim_time(claims, "iat", &t);
    if (is == TIME_BAD || (is == TIME_GIVEN && now < t - c->leeway_ms))
        return invalid("the token was issued in the future");
    if (c->max_age_ms && (is == TIME_ABSENT || now - t > c->max_age_ms + c->leeway_ms))
        return invalid("the token is too old");
    return (struct refusal){ 0, NULL, NULL };
}

static bool has_one_of(struct mg_json *claims, int node, const struct mg_array *values)
{
    const struct mg_str *v = values->items;

    for (size_t i = 0; i < values->n; i++)
        if (claim_has(claims, node, v[i], false))
            return true;
    return false;
}

static int find(struct mg_json *claims, const char *name)
{
    return claim_find(claims, (struct mg_str){ name, strlen(name) });
}

static bool has_scopes(const struct conf *c, struct mg_json *claims)
{
    const struct mg_str *s = c->scopes.items;
    int node = claim_find(claims, c->scope_claim);
    size_t has = 0;

    for (size_t i = 0; i < c->scopes.n; i++)
        has += claim_has(claims, node, s[i], true);
    return c->scopes_match == SCOPES_ANY ? has > 0 : has == c->scopes.n;
}

/* "at+jwt" is "application/at+jwt" (RFC 7515, 4.1.9). */
static bool is_type(struct mg_str have, struct mg_str want)
{
    if (have.n > 12 && !strncasecmp(have.p, "application/", 12)) {
        have.p += 12;
        have.n -= 12;
    }
    return have.n == want.n && !strncasecmp(have.p, want.p, want.n);
}

struct refusal jwt_claims_check(const struct conf *c, const struct token *t, int64_t now_ms)
{
    const struct claim_values *v = c->claims.items;
    const struct mg_str *name = c->required.items;
    struct mg_json *claims = t->claims;
    struct refusal r = check_times(c, claims, now_ms);

    if (r.status)
        return r;
    if (claims_have_twins(claims))
        return invalid("a claim of the token is there twice");
    if (c->type.n && (!t->type.n || !is_type(t->type, c->type)))
        return invalid("the token is of another type");
    if (c->issuers.n && !has_one_of(claims, find(claims, "iss"), &c->issuers))
        return invalid("the token is from another issuer");
    if (c->audiences.n && !has_one_of(claims, find(claims, "aud"), &c->audiences))
        return invalid("the token is for another audience");
    for (size_t i = 0; i < c->required.n; i++)
        if (claim_find(claims, name[i]) < 0)
            return invalid("the token lacks a claim");
    for (size_t i = 0; i < c->claims.n; i++)
        if (!has_one_of(claims, claim_find(claims, v[i].claim), &v[i].values))
            return (struct refusal){ 403, "insufficient_scope", "a claim of the token has another value" };
    if (c->scopes.n && !has_scopes(c, claims))
        return (struct refusal){ 403, "insufficient_scope", "the token's scope is too small" };
    return r;
}

/* A claim that is absent, or that a field cannot hold, takes a field of that name off: a client cannot pass its own. */
static int to_header(struct mg_x *x, const struct claim_target *t, struct mg_json *claims)
{
    int node = claim_find(claims, t->claim), rc = MG_EINVAL;
    struct mg_str text;

    if (node >= 0 && (claim_text(claims, node, &text) || mg_json_raw(claims, node, &text) == 0))
        rc = mg_header_set(x, MG_REQUEST, t->name.p, t->name.n, text.p, text.n);
    if (rc == MG_EINVAL) {
        mg_header_remove(x, MG_REQUEST, t->name.p, t->name.n);
        rc = 0;
    }
    return rc;
}

static int to_ctx(struct mg_x *x, const struct claim_target *t, struct mg_json *claims)
{
    int node = claim_find(claims, t->claim);
    struct mg_str text;
    char digits[40];
    size_t n;

    if (node < 0)
        return mg_ctx_set_nil(x, t->name.p, t->name.n);
    switch (mg_json_nodes(claims, &n)[node].kind) {
    case MG_JSON_NULL:
        return mg_ctx_set_nil(x, t->name.p, t->name.n);
    case MG_JSON_TRUE:
    case MG_JSON_FALSE:
        return mg_ctx_set_boolean(x, t->name.p, t->name.n, mg_json_nodes(claims, &n)[node].kind == MG_JSON_TRUE);
    case MG_JSON_NUMBER:
        if (mg_json_text(claims, node, &text) == 0 && text.n < sizeof(digits)) {
            memcpy(digits, text.p, text.n);
            digits[text.n] = 0;
            return mg_ctx_set_number(x, t->name.p, t->name.n, strtod(digits, NULL));
        }
        break;
    case MG_JSON_STRING:
        if (mg_json_text(claims, node, &text) == 0)
            return mg_ctx_set_text(x, t->name.p, t->name.n, text.p, text.n);
        break;
    default:
        break;
    }
    if (mg_json_raw(claims, node, &text) < 0)
        return mg_ctx_set_nil(x, t->name.p, t->name.n);
    return mg_ctx_set_text(x, t->name.p, t->name.n, text.p, text.n);
}

int jwt_claims_hand_on(struct mg_x *x, const struct conf *c, struct mg_json *claims)
{
    const struct claim_target *h = c->to_headers.items, *v = c->to_ctx.items;

    for (size_t i = 0; i < c->to_headers.n; i++)
        if (to_header(x, &h[i], claims) < 0)
            return -1;
    for (size_t i = 0; i < c->to_ctx.n; i++)
        if (to_ctx(x, &v[i], claims) < 0)
            return -1;
    return 0;
}
