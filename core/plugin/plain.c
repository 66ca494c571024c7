/* plain.c - what a body says, whatever content-encoding it came in.
 *
 * The bytes that came pass on as they are unless somebody replaces them: whoever only looks changes nothing. */
#include "plugin/body.h"
#include "base/alloc.h"
#include "http/coding.h"

#include <stdio.h>

static void more_free(void *arg)
{
    struct mg_body_more *more = arg;

    mg_free((char *)more->plain.p);
}

struct mg_body_more *mg_body_more(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_body_more *more = b->more;

    if (more)
        return more;
    more = mg_arena_zalloc(&x->arena, sizeof *more);
    if (!more || mg_arena_defer(&x->arena, more_free, more))
        return NULL;
    b->more = more;
    return more;
}

void mg_body_changed(struct mg_body *b)
{
    struct mg_body_more *more = b->more;

    if (!more)
        return;
    mg_free((char *)more->plain.p);
    more->plain = mg_str(NULL, 0);
    more->has_plain = false;
    more->json = NULL;
}

static struct mg_head *head_of(const struct mg_exchange *x, int side)
{
    return side == MG_REQUEST ? x->req : x->answer_head ? x->answer_head : x->res;
}

int mg_body_coding(struct mg_exchange *x, int side, struct mg_str *out)
{
    const struct mg_head *head = head_of(x, side);
    const struct mg_headers *h = head ? &head->headers : NULL;
    const struct mg_header *f = h ? mg_headers_find_id(h, MG_H_CONTENT_ENCODING) : NULL;

    *out = mg_str(NULL, 0);
    for (; f; f = mg_headers_next(h, f)) {
        *out = out->n ? mg_arena_printf(&x->arena, "%.*s, %.*s", (int)out->n, out->p, (int)f->value_n, f->value)
                      : mg_str(f->value, f->value_n);
        if (f->value_n && !out->p)
            return MG_ENOMEM;
    }
    return 0;
}

/* ---- decoding ---- */

/* Room for more text, up to one byte over the limit: that byte says that it is too much. */
static int grow(char **text, size_t *room, size_t used, int64_t limit)
{
    size_t want = *room ? *room * 2 : 16384;
    char *p;

    if (used < *room)
        return 0;
    if (limit > 0 && want > (size_t)limit + 1)
        want = (size_t)limit + 1;
    if (want <= used)
        return MG_ETOOBIG;
    p = mg_realloc(*text, want);
    if (!p)
        return MG_ENOMEM;
    *text = p;
    *room = want;
    return 0;
}

static int decode(struct mg_decoder *d, struct mg_str in, int64_t limit, struct mg_str *out)
{
    size_t room = 0, used = 0, n = 1;
    char *text = NULL;
    int rc = 0;

    mg_decoder_give(d, in);
    while (!rc && n) {
        rc = grow(&text, &room, used, limit);
        if (!rc)
            rc = mg_decoder_take(d, text + used, room - used, &n);
        if (!rc)
            used += n;
        if (limit > 0 && used > (size_t)limit)
            rc = MG_ETOOBIG;
    }
    if (!rc)
        rc = mg_decoder_end(d);
    if (rc)
        mg_free(text);
    else
        *out = mg_str(text, used);
    return rc;
}

int mg_body_plain_make(struct mg_exchange *x, int side, int64_t limit, struct mg_str *out)
{
    struct mg_body *b = &x->body[side];
    struct mg_body_more *more = b->more;
    struct mg_decoder *d = NULL;
    struct mg_str coding;
    int rc;

    *out = mg_str(NULL, 0);
    if (!more || !more->has_plain) {
        rc = mg_body_coding(x, side, &coding);
        if (!rc)
            rc = mg_decoder_new(coding, &d);
        if (rc)
            return rc;
        if (!d) {
            *out = b->whole;
            return 0;
        }
        more = mg_body_more(x, b);
        rc = more ? decode(d, b->whole, limit, &more->plain) : MG_ENOMEM;
        mg_decoder_free(d);
        if (rc)
            return rc;
        more->has_plain = true;
    }
    *out = more->plain;
    return limit > 0 && more->plain.n > (size_t)limit ? MG_ETOOBIG : 0;
}

/* ---- what the head says of the bytes ---- */

static int weaken_etag(struct mg_exchange *x, struct mg_headers *h)
{
    struct mg_header *f = mg_headers_find(h, MG_STR("etag"));
    struct mg_str weak;

    if (!f || (f->value_n >= 2 && f->value[0] == 'W'))
        return 0;
    weak = mg_arena_printf(&x->arena, "W/%.*s", (int)f->value_n, f->value);
    if (!weak.p)
        return MG_ENOMEM;
    f->value = weak.p;
    f->value_n = (uint32_t)weak.n;
    return 0;
}

int mg_body_head_plain(struct mg_exchange *x, int side, struct mg_head *head)
{
    static const char *const digests[] = { "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges" };

    mg_headers_remove_id(&head->headers, MG_H_CONTENT_ENCODING);
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++)
        mg_headers_remove(&head->headers, mg_str_c(digests[i]));
    return side == MG_RESPONSE ? weaken_etag(x, &head->headers) : 0;
}

int mg_body_now_plain(struct mg_exchange *x, int side)
{
    struct mg_head *head = head_of(x, side);

    return head ? mg_body_head_plain(x, side, head) : 0;
}

/* ---- refusing ---- */

bool mg_body_refuses(struct mg_body *b, int error)
{
    if (b->over != MG_OVER_REFUSE || (error == MG_ESYNTAX && b->more->passes_malformed))
        return false;
    b->gather = MG_GATHER_REFUSED;
    b->refused = error == MG_ETOOBIG ? MG_REFUSED_SIZE : error == MG_ESYNTAX ? MG_REFUSED_CODING : MG_REFUSED_FILE;
    return true;
}

/* ---- JSON ---- */

static void json_free(void *doc)
{
    mg_json_free(doc);
}

struct mg_json *mg_body_json_make(struct mg_exchange *x, int side, struct mg_str text, char *error, size_t error_n)
{
    struct mg_body_more *more = mg_body_more(x, &x->body[side]);
    struct mg_json *doc;

    if (more && more->json)
        return more->json;
    if (!more) {
        snprintf(error, error_n, "the exchange is over its memory budget");
        return NULL;
    }
    doc = mg_json_parse(text.p ? text.p : "", text.n, error, error_n);
    if (doc && mg_arena_defer(&x->arena, json_free, doc)) {
        mg_json_free(doc);
        doc = NULL;
        snprintf(error, error_n, "the exchange is over its memory budget");
    }
    more->json = doc;
    return doc;
}
