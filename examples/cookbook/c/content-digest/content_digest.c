/* content_digest.c - is a body what its sender meant to send? Checks `content-digest` of requests (RFC 9530).
 *
 * The body is read whole and hashed, a large one on the thread pool, so that no other request waits for it; one that does not match is
 * answered 400 and never reaches the upstream. sha-256 and sha-512 are known; the first of them in the field is checked. Requests
 * without the field pass unless `required`. Limits: bodies of up to `limit` bytes; when too many hashes wait: 503. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1
#define INLINE_BYTES 16384 /* hashed at once: going to another thread costs more */

struct conf {
    bool required;
    int64_t limit;
};
static const struct mg_field fields[] = {
    { .name = "required", .type = MG_BOOL, .offset = offsetof(struct conf, required), .preset = "false",
      .doc = "Refuse requests with a body and without the field." },
    { .name = "limit", .type = MG_SIZE, .offset = offsetof(struct conf, limit), .preset = "1m", .has_min = true, .min = 1,
      .doc = "The largest body." },
    { 0 }
};

struct state {
    const char *name;       /* of the digest, as OpenSSL has it */
    struct mg_str expected; /* as it was given: base64 */
    bool is_hashing;
};

static enum mg_verdict refuse(struct mg_x *x, int status, const char *detail, size_t n)
{
    return mg_respond_error(x, status, detail, n) < 0 ? MG_ERROR : MG_RESPOND;
}

/* sha-256=:BASE64:, … (a dictionary of byte sequences, RFC 9651). */
static bool parse(struct mg_str field, struct state *s)
{
    static const struct { const char *p; size_t n; const char *name; } known[] = {
        { "sha-512=:", 9, "sha512" }, { "sha-256=:", 9, "sha256" },
    };
    const char *p = field.p, *end = field.p + field.n, *stop;

    for (; p < end; p++) {
        if (p > field.p && p[-1] != ' ' && p[-1] != ',')
            continue;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if ((size_t)(end - p) <= known[i].n || memcmp(p, known[i].p, known[i].n))
                continue;
            stop = memchr(p + known[i].n, ':', (size_t)(end - p) - known[i].n);
            if (!stop)
                return false;
            s->name = known[i].name;
            s->expected = (struct mg_str){ p + known[i].n, (size_t)(stop - p) - known[i].n };
            return true;
        }
    }
    return false;
}

static enum mg_verdict compare(struct mg_x *x, const struct state *s, struct mg_str digest)
{
    struct mg_str text;

    if (mg_base64_encode(digest.p, digest.n, 0, &text) < 0)
        return MG_ERROR;
    if (mg_equal(text.p, text.n, s->expected.p, s->expected.n))
        return MG_CONTINUE;
    return refuse(x, 400, LIT("The body is not what its content-digest says."));
}

/* On a thread of the pool: the digest's name, NUL, the bytes. */
static int hash(const char *input, size_t input_n, char **output, size_t *output_n)
{
    size_t name_n = strlen(input);
    struct mg_str digest;
    int rc = mg_digest(input, input + name_n + 1, input_n - name_n - 1, &digest);

    if (rc < 0)
        return rc;
    *output = malloc(digest.n);
    if (!*output)
        return MG_ENOMEM;
    memcpy(*output, digest.p, digest.n);
    *output_n = digest.n;
    return 0;
}

static enum mg_verdict hash_elsewhere(struct mg_x *x, struct state *s, struct mg_str body)
{
    size_t name_n = strlen(s->name) + 1;
    char *input = malloc(name_n + body.n); /* copied by mg_work; kept out of the exchange's memory */
    int op;

    if (!input)
        return MG_ERROR;
    memcpy(input, s->name, name_n);
    memcpy(input + name_n, body.p, body.n);
    op = mg_work(x, hash, input, name_n + body.n);
    free(input);
    s->is_hashing = true;
    return op > 0 ? MG_WAIT : MG_ERROR;
}

static enum mg_verdict check(struct mg_x *x, struct state *s)
{
    struct mg_str body, digest;

    if (mg_body_get(x, MG_REQUEST, &body) < 0)
        return MG_ERROR;
    if (body.n > INLINE_BYTES)
        return hash_elsewhere(x, s, body);
    if (mg_digest(s->name, body.p, body.n, &digest) < 0)
        return MG_ERROR;
    return compare(x, s, digest);
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;
    struct state *s = mg_x_local(x, sizeof(*s));
    struct mg_str field;
    int rc;

    if (!s)
        return MG_ERROR;
    if (mg_header_join(x, MG_REQUEST, LIT("content-digest"), &field) < 0) {
        if (c->required && mg_body_length(x, MG_REQUEST) != 0)
            return refuse(x, 400, LIT("This needs a content-digest."));
        return MG_CONTINUE;
    }
    if (!parse(field, s))
        return refuse(x, 400, LIT("The content-digest has neither sha-256 nor sha-512."));
    rc = mg_body_read(x, MG_REQUEST, c->limit, MG_OVER_REFUSE); /* over the limit: answered 413 */
    if (rc < 0)
        return MG_ERROR;
    return rc == 1 ? check(x, s) : MG_WAIT;
}

/* The body is there, or its hash. */
static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct state *s = mg_x_local(x, sizeof(*s));
    struct mg_str digest;
    enum mg_verdict v;

    if (!s->is_hashing)
        return status == 0 ? check(x, s) : MG_ERROR;
    if (status == MG_EBUSY)
        return refuse(x, 503, LIT("Too much is being checked now."));
    if (status < 0 || mg_work_output(x, op, &digest) < 0)
        return MG_ERROR;
    v = compare(x, s, digest);
    mg_work_free(x, op);
    return v;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "content-digest", .version = "1.0",
    .doc = "Checks the digests of request bodies (RFC 9530).",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .on_request = on_request, .on_wake = on_wake,
};
