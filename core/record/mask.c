/* mask.c - secrets are left out of a recording, and yet the same secret is the same word all through it: a chain that
 * compares or counts by them goes the same way on a replay. The words are made with a key that the job forgets. */
#include "record/parts.h"
#include "pdk/codec.h"

enum { WORD_BYTES = 8 };

static bool is_secret(const struct mg_record_job *job, struct mg_str name)
{
    return !job->conf.keep_secrets && mg_trace_is_secret(job->conf.secret, job->conf.secret_n, name);
}

/* "masked-" and 16 digits. */
static struct mg_str word(const struct mg_record_job *job, struct mg_arena *a, struct mg_str secret)
{
    char text[7 + 2 * WORD_BYTES];
    struct mg_str mac;

    if (mg_hmac("sha256", (const char *)job->key, sizeof job->key, secret.p, secret.n, &mac) != 0)
        return MG_STR("masked");
    memcpy(text, "masked-", 7);
    mg_hex_put(text + 7, mac.p, WORD_BYTES);
    return mg_arena_copy(a, text, sizeof text);
}

static struct mg_str joined(struct mg_arena *a, struct mg_str p, struct mg_str q)
{
    char *out = mg_arena_alloc(a, p.n + q.n + 1);

    if (!out)
        return MG_STR("masked");
    memcpy(out, p.p, p.n);
    memcpy(out + p.n, q.p, q.n);
    out[p.n + q.n] = 0;
    return mg_str(out, p.n + q.n);
}

static struct mg_str from(struct mg_str s, size_t at)
{
    return mg_str(s.p + at, s.n - at);
}

/* A token of three parts keeps its claims and loses its signature: nobody takes it any more. */
static struct mg_str mask_token(const struct mg_record_job *job, struct mg_arena *a, struct mg_str token)
{
    const char *one = memchr(token.p, '.', token.n), *two;

    two = one ? memchr(one + 1, '.', token.n - (size_t)(one + 1 - token.p)) : NULL;
    if (!two || two - one < 2 || memchr(two + 1, '.', token.n - (size_t)(two + 1 - token.p)))
        return word(job, a, token);
    return joined(a, mg_str(token.p, (size_t)(two + 1 - token.p)), word(job, a, token));
}

/* Name and a word in place of the password. */
static struct mg_str mask_basic(const struct mg_record_job *job, struct mg_arena *a, struct mg_str coded)
{
    struct mg_str plain, again;
    const char *colon;

    if (mg_base64_decode(coded.p, coded.n, 0, &plain) != 0 || !plain.n)
        return word(job, a, coded);
    plain = mg_arena_copy(a, plain.p, plain.n);
    colon = plain.p ? memchr(plain.p, ':', plain.n) : NULL;
    if (!colon)
        return word(job, a, coded);
    plain = joined(a, mg_str(plain.p, (size_t)(colon + 1 - plain.p)), word(job, a, from(plain, (size_t)(colon + 1 - plain.p))));
    if (mg_base64_encode(plain.p, plain.n, 0, &again) != 0)
        return word(job, a, coded);
    return mg_arena_copy(a, again.p, again.n);
}

/* "Scheme credentials" keeps its scheme. */
static struct mg_str mask_authorization(const struct mg_record_job *job, struct mg_arena *a, struct mg_str value)
{
    const char *space = value.n ? memchr(value.p, ' ', value.n) : NULL;
    struct mg_str scheme, rest;

    if (!space)
        return word(job, a, value);
    scheme = mg_str(value.p, (size_t)(space + 1 - value.p));
    rest = mg_str_trim(from(value, scheme.n));
    if (mg_str_ieq(scheme, MG_STR("basic ")))
        return joined(a, scheme, mask_basic(job, a, rest));
    return joined(a, scheme, mask_token(job, a, rest));
}

/* "a=1; b=2": each value of its own. */
static struct mg_str mask_cookies(const struct mg_record_job *job, struct mg_arena *a, struct mg_str value, bool first_only)
{
    struct mg_str rest = value, item, out = mg_str("", 0);

    while (mg_str_next(&rest, ';', &item)) {
        const char *eq = memchr(item.p, '=', item.n);
        bool hide = eq && (!first_only || !out.n);

        if (out.n)
            out = joined(a, out, MG_STR("; "));
        if (hide)
            item = joined(a, mg_str(item.p, (size_t)(eq + 1 - item.p)), word(job, a, from(item, (size_t)(eq + 1 - item.p))));
        out = joined(a, out, item);
    }
    return out;
}

struct mg_str mg_mask_field(const struct mg_record_job *job, struct mg_arena *a, struct mg_str name, struct mg_str value)
{
    if (mg_str_ieq(name, MG_STR("referer")) || mg_str_ieq(name, MG_STR("location")))
        return mg_mask_target(job, a, value);
    if (!value.n || !is_secret(job, name))
        return mg_arena_copy(a, value.p, value.n);
    if (mg_str_ieq(name, MG_STR("cookie")))
        return mask_cookies(job, a, value, false);
    if (mg_str_ieq(name, MG_STR("set-cookie")))
        return mask_cookies(job, a, value, true);
    return mask_authorization(job, a, value);
}

struct mg_str mg_mask_target(const struct mg_record_job *job, struct mg_arena *a, struct mg_str target)
{
    const char *mark = target.n ? memchr(target.p, '?', target.n) : NULL;
    struct mg_str out, rest, item;
    bool first = true;

    if (!mark || job->conf.keep_secrets)
        return mg_arena_copy(a, target.p, target.n);
    out = mg_str(target.p, (size_t)(mark + 1 - target.p));
    rest = from(target, out.n);
    while (mg_str_next(&rest, '&', &item)) {
        const char *eq = memchr(item.p, '=', item.n);

        if (!first)
            out = joined(a, out, MG_STR("&"));
        first = false;
        if (eq && is_secret(job, mg_str(item.p, (size_t)(eq - item.p))))
            item = joined(a, mg_str(item.p, (size_t)(eq + 1 - item.p)), word(job, a, from(item, (size_t)(eq + 1 - item.p))));
        out = joined(a, out, item);
    }
    return mg_arena_copy(a, out.p, out.n);
}

/* The lines of a head, up to the empty one. */
static struct mg_str mask_message(const struct mg_record_job *job, struct mg_arena *a, struct mg_str text)
{
    struct mg_str out = mg_str("", 0), rest = text;
    bool is_first = true;

    while (rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end + 1 - rest.p) : rest.n;
        struct mg_str line = mg_str(rest.p, n), name, value;
        const char *colon = memchr(line.p, ':', line.n);

        rest = from(rest, n);
        if (is_first) {
            line = mg_mask_target(job, a, line);
            is_first = false;
        } else if (mg_str_trim(mg_str(line.p, line.n - (end ? 1 : 0))).n <= 1) {
            return joined(a, joined(a, out, line), mg_mask_body(job, a, rest));
        } else if (colon) {
            name = mg_str(line.p, (size_t)(colon - line.p));
            value = from(line, name.n + 1);
            while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
                value.n--;
            if (is_secret(job, name))
                line = joined(a, joined(a, mg_str(line.p, name.n + 1), MG_STR(" ")),
                              joined(a, mg_mask_field(job, a, name, mg_str_trim(value)), MG_STR("\r\n")));
        }
        out = joined(a, out, line);
    }
    return out;
}

/* "kind key": who knows the key knows everything. */
static struct mg_str mask_credential(const struct mg_record_job *job, struct mg_arena *a, struct mg_str text)
{
    const char *space = text.n ? memchr(text.p, ' ', text.n) : NULL;

    if (!space)
        return word(job, a, text);
    return joined(a, mg_str(text.p, (size_t)(space + 1 - text.p)), word(job, a, from(text, (size_t)(space + 1 - text.p))));
}

struct mg_str mg_mask_text(const struct mg_record_job *job, struct mg_arena *a, const char *service, struct mg_str text)
{
    if (!text.n)
        return mg_str("", 0);
    if (job->conf.keep_secrets)
        return mg_arena_copy(a, text.p, text.n);
    if (strncmp(service, "http", 4) == 0)
        return mask_message(job, a, text);
    if (strcmp(service, "credential") == 0)
        return mask_credential(job, a, text);
    if (strcmp(service, "password") == 0)
        return word(job, a, text);
    return mg_arena_copy(a, text.p, text.n);
}

struct mg_str mg_mask_body(const struct mg_record_job *job, struct mg_arena *a, struct mg_str body)
{
    const struct mg_json_node *nodes;
    struct mg_json *doc;
    struct mg_str out = mg_str("", 0);
    size_t n, at = 0;
    char error[128];

    if (job->conf.keep_secrets || body.n < 2 || (body.p[0] != '{' && body.p[0] != '['))
        return body;
    doc = mg_json_parse(body.p, body.n, error, sizeof error);
    if (!doc)
        return body;
    nodes = mg_json_nodes(doc, &n);
    for (size_t i = 0; i < n; i++) {
        struct mg_str key;

        if (nodes[i].key < 0 || nodes[i].start < at || mg_json_text(doc, nodes[i].key, &key) != 0 || !is_secret(job, key))
            continue;
        out = joined(a, out, mg_str(body.p + at, nodes[i].start - at));
        out = joined(a, joined(a, out, MG_STR("\"")),
                     joined(a, word(job, a, mg_str(body.p + nodes[i].start, nodes[i].end - nodes[i].start)), MG_STR("\"")));
        at = nodes[i].end;
    }
    out = at ? joined(a, out, mg_str(body.p + at, body.n - at)) : body;
    mg_json_free(doc);
    return out;
}
