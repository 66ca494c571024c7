/* Tokens of any bytes, tokens of any header and claims, and any JWK: refused with a sentence, or taken apart into parts that lie within
 * the token and can all be read. */
#include <assert.h>
#include <stdbool.h>
#include "../../plugins/jwt/key.c"
#undef fail
#include "../../plugins/jwt/token.c"
#include "../../plugins/jwt/verify.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 4096 };

static size_t encode(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t made = 0;
    uint32_t bits = 0;
    int have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6;)
            out[made++] = digits[bits >> (have -= 6) & 63];
    }
    if (have)
        out[made++] = digits[bits << (6 - have) & 63];
    return made;
}

static void within(struct mg_str part, struct mg_str whole)
{
    assert(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void read_claims(struct mg_json *claims)
{
    static const char *const paths[] = { "iss", "aud", "scope", "org.id", "a.b.c.d", "", ".", "sub" };
    struct mg_str text;
    int64_t ms;

    claims_have_twins(claims);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int node = claim_find(claims, (struct mg_str){ paths[i], strlen(paths[i]) });

        if (node < 0)
            continue;
        if (claim_text(claims, node, &text) && text.n)
            claim_has(claims, node, text, true);
        claim_has(claims, node, (struct mg_str){ "orders", 6 }, false);
    }
    if (claim_time(claims, "exp", &ms) == TIME_GIVEN)
        claim_time(claims, "nbf", &ms);
}

static void try_token(struct mg_str text)
{
    static uint8_t room[4 * MOST];
    struct token t;
    const char *wrong = token_open(&t, text, room);

    if (wrong) {
        assert(wrong[0]);
    } else {
        assert(t.header && t.claims && t.algorithm.n);
        within(t.signed_text, text);
        within(t.signature, (struct mg_str){ (const char *)room, text.n });
        read_claims(t.claims);
    }
    token_close(&t);
}

static void try_made(const uint8_t *data, size_t n)
{
    static char whole[4 * MOST];
    const uint8_t *line = memchr(data, '\n', n);
    size_t head = line ? (size_t)(line - data) : n, made;
    uint8_t back[MOST];

    made = encode(data, head, whole);
    assert(jwt_base64url(whole, made, back) == (long)head && !memcmp(back, data, head));
    whole[made++] = '.';
    if (line)
        made += encode(line + 1, n - head - 1, whole + made);
    memcpy(whole + made, ".c2ln", 5);
    try_token((struct mg_str){ whole, made + 5 });
}

static void try_jwk(const uint8_t *data, size_t n)
{
    char why[128];
    struct mg_error err = { 0 };
    struct mg_json *doc = mg_json_parse((const char *)data, n, why, sizeof(why));
    struct jwt_key *key = doc ? jwt_key_from_jwk(doc, 0, -1, &err) : NULL;

    if (key) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        jwt_key_verify(key, ctx, (struct mg_str){ (const char *)data, n }, (struct mg_str){ (const char *)data, n });
        EVP_MD_CTX_free(ctx);
        jwt_key_free(key);
    } else if (doc && err.code) {
        assert(err.message[0]);
    }
    mg_json_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > MOST)
        return 0;
    switch (data[0] % 3) {
    case 0: try_token((struct mg_str){ (const char *)data + 1, n - 1 }); break;
    case 1: try_made(data + 1, n - 1); break;
    default: try_jwk(data + 1, n - 1);
    }
    return 0;
}
