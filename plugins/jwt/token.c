#include "token.h"
#include <stdlib.h>
#include <string.h>

static bool split(struct mg_str text, struct mg_str part[3])
{
    const char *end = text.p + text.n, *a = memchr(text.p, '.', text.n);
    const char *b = a ? memchr(a + 1, '.', (size_t)(end - a - 1)) : NULL;

    if (!b || memchr(b + 1, '.', (size_t)(end - b - 1)))
        return false;
    part[0] = (struct mg_str){ text.p, (size_t)(a - text.p) };
    part[1] = (struct mg_str){ a + 1, (size_t)(b - a - 1) };
    part[2] = (struct mg_str){ b + 1, (size_t)(end - b - 1) };
    return part[0].n && part[1].n && part[2].n;
}

static struct mg_json *parse_object(const uint8_t *p, long n)
{
    char text[8];
    struct mg_json *doc = mg_json_parse((const char *)p, (size_t)n, text, sizeof(text));
    size_t nodes_n;

    if (doc && mg_json_nodes(doc, &nodes_n)[0].kind != MG_JSON_OBJECT) {
        mg_json_free(doc);
        doc = NULL;
    }
    return doc;
}

/* A header member that is text; false when it is there and is not, or is there twice. */
static bool header_text(struct mg_json *header, const char *name, struct mg_str *out)
{
    size_t n;
    int i = jwt_member(header, 0, name, strlen(name));

    *out = (struct mg_str){ NULL, 0 };
    if (i == -1)
        return true;
    return i >= 0 && mg_json_nodes(header, &n)[i].kind == MG_JSON_STRING && mg_json_text(header, i, out) == 0;
}

const char *token_open(struct token *t, struct mg_str text, uint8_t *room)
{
    struct mg_str part[3];
    long n, used = 0;

    memset(t, 0, sizeof(*t));
    t->whole = text;
    if (!split(text, part))
        return "the token is not made of three parts";
    if ((n = jwt_base64url(part[0].p, part[0].n, room)) < 0 || !(t->header = parse_object(room, n)))
        return "the token's header cannot be read";
    if (!header_text(t->header, "alg", &t->algorithm) || !header_text(t->header, "kid", &t->kid)
        || !header_text(t->header, "typ", &t->type) || !t->algorithm.n)
        return "the token's header cannot be read";
    /* Extensions that must be understood: none is (RFC 7515, 4.1.11; b64 of RFC 7797 is one). */
    if (jwt_member(t->header, 0, "crit", 4) != -1)
        return "the token has critical extensions";
    used = n;
    if ((n = jwt_base64url(part[1].p, part[1].n, room + used)) < 0 || !(t->claims = parse_object(room + used, n)))
        return "the token's claims cannot be read";
    used += n;
    if ((n = jwt_base64url(part[2].p, part[2].n, room + used)) <= 0)
        return "the token's signature cannot be read";
    t->signature = (struct mg_str){ (const char *)room + used, (size_t)n };
    t->signed_text = (struct mg_str){ text.p, part[0].n + 1 + part[1].n };
    return NULL;
}

void token_close(struct token *t)
{
    if (t->header)
        mg_json_free(t->header);
    if (t->claims)
        mg_json_free(t->claims);
    t->header = t->claims = NULL;
}

bool claims_have_twins(struct mg_json *claims)
{
    const struct mg_json_node *nodes;
    struct mg_str key;
    uint64_t seen = 0; /* a bit for names that look alike, so that few are compared */
    size_t n;

    nodes = mg_json_nodes(claims, &n);
    for (int i = 1; i < nodes[0].next; i = nodes[i].next) {
        uint64_t bit;

        if (nodes[i].key < 0)
            continue; /* the key's own node */
        if (mg_json_text(claims, nodes[i].key, &key) < 0)
            return true;
        bit = (uint64_t)1 << ((key.n * 7 + (key.n ? (uint8_t)key.p[0] * 5u + (uint8_t)key.p[key.n - 1] : 0)) & 63);
        if ((seen & bit) && jwt_member(claims, 0, key.p, key.n) == -2)
            return true;
        seen |= bit;
    }
    return false;
}

int claim_find(struct mg_json *claims, struct mg_str path)
{
    int node = jwt_member(claims, 0, path.p, path.n);

    if (node >= 0 || !memchr(path.p, '.', path.n))
        return node < 0 ? -1 : node;
    node = 0;
    while (path.n && node >= 0) {
        const char *dot = memchr(path.p, '.', path.n);
        size_t n = dot ? (size_t)(dot - path.p) : path.n;

        node = jwt_member(claims, node, path.p, n);
        n += dot ? 1 : 0;
        path.p += n;
        path.n -= n;
    }
    return node < 0 ? -1 : node;
}

bool claim_text(struct mg_json *claims, int node, struct mg_str *out)
{
    size_t n;

    if (node < 0)
        return false;
    switch (mg_json_nodes(claims, &n)[node].kind) {
    case MG_JSON_STRING:
    case MG_JSON_NUMBER:
        return mg_json_text(claims, node, out) == 0;
    case MG_JSON_TRUE:
        *out = (struct mg_str){ "true", 4 };
        return true;
    case MG_JSON_FALSE:
        *out = (struct mg_str){ "false", 5 };
        return true;
    default:
        return false;
    }
}

static bool same(struct mg_str a, struct mg_str b)
{
    return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n));
}

static bool has_word(struct mg_str all, struct mg_str word)
{
    size_t i = 0;

    while (i < all.n) {
        size_t from = i;

        while (i < all.n && all.p[i] != ' ')
            i++;
        if (same((struct mg_str){ all.p + from, i - from }, word))
            return true;
        i++;
    }
    return false;
}

bool claim_has(struct mg_json *claims, int node, struct mg_str value, bool words)
{
    const struct mg_json_node *nodes;
    struct mg_str text;
    size_t n;

    if (node < 0)
        return false;
    nodes = mg_json_nodes(claims, &n);
    if (nodes[node].kind == MG_JSON_ARRAY) {
        for (int i = node + 1; i < nodes[node].next; i = nodes[i].next)
            if (claim_text(claims, i, &text) && same(text, value))
                return true;
        return false;
    }
    if (!claim_text(claims, node, &text))
        return false;
    return words ? has_word(text, value) : same(text, value);
}

enum claim_time claim_time(struct mg_json *claims, const char *name, int64_t *ms)
{
    int node = jwt_member(claims, 0, name, strlen(name));
    char digits[40];
    struct mg_str s;
    double v;
    size_t n;

    if (node == -1)
        return TIME_ABSENT;
    if (node < 0 || mg_json_nodes(claims, &n)[node].kind != MG_JSON_NUMBER || mg_json_text(claims, node, &s) < 0
        || s.n >= sizeof(digits))
        return TIME_BAD;
    memcpy(digits, s.p, s.n);
    digits[s.n] = 0;
    v = strtod(digits, NULL);
    if (!(v >= 0 && v < 1e12))
        return TIME_BAD;
    *ms = (int64_t)(v * 1000);
    return TIME_GIVEN;
}
