/* Tokens of strangers, and key sets from files: refused with a sentence, or taken apart into parts that lie in them. */
#include "exchange.h"
#undef fail
#include "../../plugins/jwt/key.c"
#undef fail
#define is_word token_is_word
#define split token_split
#include "../../plugins/jwt/token.c"
#include "../../plugins/jwt/verify.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_token(struct mg_str text)
{
    uint8_t *room = malloc(text.n ? text.n : 1);
    struct token t;
    const char *why;
    struct mg_str s;
    int64_t ms;

    must(room != NULL);
    why = token_open(&t, text, room);
    if (!why) {
        int node = claim_find(t.claims, MG_STR("a.b"));

        must(t.algorithm.n && t.signature.n);
        must(t.signed_text.p == text.p && t.signed_text.n < text.n);
        (void)claim_text(t.claims, node, &s);
        (void)claim_has(t.claims, claim_find(t.claims, MG_STR("aud")), MG_STR("me"), true);
        if (claim_time(t.claims, "exp", &ms) == TIME_GIVEN)
            must(ms >= 0);
        must(jwt_algorithm_find(MG_STR("none")) < 0);
    }
    token_close(&t);
    free(room);
}

static void try_jwk(struct mg_str text)
{
    char why[128];
    struct mg_json *doc = mg_json_parse(text.p, text.n, why, sizeof(why));
    struct mg_error err = { 0 };
    struct jwt_key *key;
    size_t n;

    if (!doc)
        return;
    if (mg_json_nodes(doc, &n)[0].kind == MG_JSON_OBJECT) {
        key = jwt_key_from_jwk(doc, 0, -1, &err);
        must(key || !err.code || err.message[0]);
        jwt_key_free(key);
    }
    mg_json_free(doc);
}

/* The header and the claims may come in the clear, "{…}.{…}.signature": the fuzzer cannot guess base64url. */
static void try_clear(struct mg_str text)
{
    const char *a;
    char *token = malloc(text.n * 2 + 16);
    struct mg_str part, out;
    size_t n = 0;

    must(token != NULL);
    for (int i = 0; i < 3; i++) {
        a = text.n ? memchr(text.p, '.', text.n) : NULL;
        part = mg_str(text.p, a && i < 2 ? (size_t)(a - text.p) : text.n);
        text = a && i < 2 ? mg_str(a + 1, text.n - part.n - 1) : mg_str(NULL, 0);
        must(mg_base64_encode(part.p, part.n, 1, &out) == 0);
        if (out.n)
            memcpy(token + n, out.p, out.n);
        n += out.n;
        if (i < 2)
            token[n++] = '.';
    }
    try_token(mg_str(token, n));
    free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str text = mg_str((const char *)data, size);

    if (!size || size > 8192)
        return 0;
    try_token(text);
    try_jwk(text);
    try_clear(text);
    return 0;
}
