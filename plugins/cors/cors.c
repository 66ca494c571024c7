/* cors.c - which web pages may call? (The Fetch standard, 3.2.)
 *
 *     { "cors", origins = { "https://app.example.com", "https://beta.example.com" }, credentials = true, max_age = "1h" }
 *
 * A preflight is answered here and goes no further, so this entry stands before those that ask for a
 * key: browsers send none with it. An answer, whoever made it, gets the fields that let the page read it; what the
 * upstream says on the matter is replaced. `Vary: Origin` goes on every answer that depends on the origin, those to
 * requests without one included, or a cache would hand them to the wrong page. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct conf {
    struct mg_array origins;        /* of struct mg_str */
    struct mg_array patterns;       /* of struct mg_re * */
    struct mg_array methods, allow_headers, expose_headers;
    bool credentials, private_network, forward_preflight;
    int64_t max_age_ms;
};
struct instance {
    const struct conf *conf;
    bool any_origin;                /* "*" */
    bool any_header;                /* mirror what is asked for */
    struct mg_str methods, allow_headers, expose_headers, max_age;
    char numbers[24];
};

static const struct mg_field text_item = { .type = MG_STRING, .has_min = true, .min = 1 };
static const struct mg_field regex_item = { .type = MG_REGEX };
static const struct mg_field token_item = { .type = MG_STRING, .pattern = "[!#$%&'*+.^_`|~0-9A-Za-z-]+" };

static const struct mg_field fields[] = {
    { .name = "origins", .type = MG_LIST, .offset = offsetof(struct conf, origins), .item = &text_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .at = 1,
      .doc = "Origins that may call: \"https://app.example.com\", \"https://*.example.com\", \"null\", or \"*\" for all." },
    { .name = "origin_patterns", .type = MG_LIST, .offset = offsetof(struct conf, patterns), .item = &regex_item,
      .item_bytes = sizeof(struct mg_re *), .single = true, .doc = "Regular expressions; one that matches a whole origin allows it." },
    { .name = "methods", .type = MG_LIST, .offset = offsetof(struct conf, methods), .item = &token_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Methods that may be used; GET, HEAD, POST, PUT, PATCH and DELETE when none is named." },
    { .name = "allow_headers", .type = MG_LIST, .offset = offsetof(struct conf, allow_headers), .item = &token_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Request fields that may be sent; when none is named, those that the page asks for." },
    { .name = "expose_headers", .type = MG_LIST, .offset = offsetof(struct conf, expose_headers), .item = &token_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Response fields that the page may read." },
    { .name = "credentials", .type = MG_BOOL, .offset = offsetof(struct conf, credentials), .preset = "false",
      .doc = "May the page send cookies and other credentials?" },
    { .name = "max_age", .type = MG_DURATION, .offset = offsetof(struct conf, max_age_ms), .preset = "0s", .has_min = true, .min = 0,
      .doc = "How long a browser may remember a preflight's answer; 0s: its own default." },
    { .name = "private_network", .type = MG_BOOL, .offset = offsetof(struct conf, private_network), .preset = "false",
      .doc = "May a public page call this address inside a private network?" },
    { .name = "forward_preflight", .type = MG_BOOL, .offset = offsetof(struct conf, forward_preflight), .preset = "false",
      .doc = "Send preflights on to the upstream; its answer is completed." },
    { 0 }
};

/* ---- when the config loads ---------------------------------------------------------------------- */

static int fail(struct mg_error *err, int code, const char *message, struct mg_str s)
{
    snprintf(err->message, sizeof(err->message), "%s%.*s%s", message, (int)(s.n < 120 ? s.n : 120), s.n ? s.p : "", s.n ? "\"" : "");
    return err->code = code;
}

/* "a", "b" to "a, b". */
static int join(const struct mg_array *list, struct mg_str *out)
{
    const struct mg_str *s = list->items;
    size_t room = 1, n = 0;
    char *p;

    for (size_t i = 0; i < list->n; i++)
        room += s[i].n + 2;
    p = malloc(room);
    if (!p)
        return MG_ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        if (i) {
            p[n++] = ',';
            p[n++] = ' ';
        }
        memcpy(p + n, s[i].p, s[i].n);
        n += s[i].n;
    }
    *out = (struct mg_str){ p, n };
    return 0;
}

static bool has_star(const struct mg_array *list)
{
    const struct mg_str *s = list->items;

    for (size_t i = 0; i < list->n; i++)
        if (s[i].n == 1 && s[i].p[0] == '*')
            return true;
    return false;
}

/* A scheme, "://" and a host whose first part may be a star, with a port perhaps; or "null", or "*". An origin has no path and no slash at its end. */
static int check_origin(struct mg_str o, struct mg_error *err)
{
    const char *host;
    size_t stars = 0;

    if ((o.n == 1 && o.p[0] == '*') || (o.n == 4 && !memcmp(o.p, "null", 4)))
        return 0;
    host = memmem(o.p, o.n, "://", 3);
    if (!host || host == o.p || host + 3 == o.p + o.n || memchr(host + 3, '/', (size_t)(o.p + o.n - host - 3)))
        return fail(err, MG_ECONF, "origins: an origin is scheme://host or scheme://host:port, not \"", o);
    for (size_t i = 0; i < o.n; i++)
        stars += o.p[i] == '*';
    if (stars > 1 || (stars == 1 && (host[3] != '*' || host + 4 == o.p + o.n || host[4] != '.')))
        return fail(err, MG_ECONF, "origins: one * may stand for the first part of the host, as in https://*.example.com; not \"", o);
    return 0;
}

static int check(struct instance *in, struct mg_error *err)
{
    const struct conf *c = in->conf;
    const struct mg_str *o = c->origins.items, none = { NULL, 0 };

    if (!c->origins.n && !c->patterns.n)
        return fail(err, MG_ECONF, "needs origins or origin_patterns", none);
    for (size_t i = 0; i < c->origins.n; i++)
        if (check_origin(o[i], err) < 0)
            return MG_ECONF;
    in->any_origin = has_star(&c->origins);
    in->any_header = c->allow_headers.n == 0;
    if (c->credentials && (in->any_origin || has_star(&c->allow_headers) || has_star(&c->expose_headers) || has_star(&c->methods)))
        return fail(err, MG_ECONF, "credentials = true forbids \"*\": browsers refuse it; name the origins, methods and fields", none);
    return 0;
}

static void destroy(void *self)
{
    struct instance *in = self;

    free((void *)in->methods.p);
    free((void *)in->allow_headers.p);
    free((void *)in->expose_headers.p);
    free(in);
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    static const struct mg_str usual[] = { { "GET", 3 }, { "HEAD", 4 }, { "POST", 4 }, { "PUT", 3 }, { "PATCH", 5 }, { "DELETE", 6 } };
    static const struct mg_array usual_methods = { usual, 6 };
    struct instance *in = calloc(1, sizeof(*in));
    const struct conf *c = entry->conf;

    if (!in)
        return fail(err, MG_ENOMEM, "out of memory", (struct mg_str){ NULL, 0 });
    in->conf = c;
    if (check(in, err) < 0)
        goto fail;
    if (join(c->methods.n ? &c->methods : &usual_methods, &in->methods) < 0 || join(&c->allow_headers, &in->allow_headers) < 0
        || join(&c->expose_headers, &in->expose_headers) < 0) {
        fail(err, MG_ENOMEM, "out of memory", (struct mg_str){ NULL, 0 });
        goto fail;
    }
    in->max_age.p = in->numbers;
    in->max_age.n = (size_t)snprintf(in->numbers, sizeof(in->numbers), "%lld", (long long)(c->max_age_ms / 1000));
    *self = in;
    return 0;
fail:
    destroy(in);
    return err->code;
}

/* ---- is this origin allowed? -------------------------------------------------------------------- */

static bool matches_origin(struct mg_str want, struct mg_str origin)
{
    const char *star = memchr(want.p, '*', want.n);
    size_t head, tail;

    if (!star)
        return want.n == origin.n && !strncasecmp(want.p, origin.p, want.n);
    head = (size_t)(star - want.p);
    tail = want.n - head - 1;
    if (origin.n <= head + tail || strncasecmp(want.p, origin.p, head) || strncasecmp(star + 1, origin.p + origin.n - tail, tail))
        return false;
    for (size_t i = head; i < origin.n - tail; i++) { /* nothing but labels of a name */
        char c = origin.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return true;
}

static bool allows_origin(const struct instance *in, struct mg_str origin)
{
    const struct conf *c = in->conf;
    const struct mg_str *o = c->origins.items;
    struct mg_re *const *re = c->patterns.items;
    int32_t span[2];

    if (in->any_origin)
        return true;
    for (size_t i = 0; i < c->origins.n; i++)
        if (matches_origin(o[i], origin))
            return true;
    for (size_t i = 0; i < c->patterns.n; i++)
        if (mg_re_match(re[i], origin.p, origin.n, 0, span, 1) > 0 && span[0] == 0 && (size_t)span[1] == origin.n)
            return true;
    return false;
}

/* ---- the fields of an answer ---------------------------------------------------------------------- */

#define SET(x, name, value, value_n) mg_header_set(x, MG_RESPONSE, name, sizeof(name) - 1, value, value_n)
#define REMOVE(x, name) mg_header_remove(x, MG_RESPONSE, name, sizeof(name) - 1)

/* Does the comma list `all` have `one`? */
static bool list_has(struct mg_str all, const char *one, size_t n)
{
    size_t i = 0;

    while (i < all.n) {
        size_t from, to;

        while (i < all.n && (all.p[i] == ' ' || all.p[i] == '\t' || all.p[i] == ','))
            i++;
        from = i;
        while (i < all.n && all.p[i] != ',')
            i++;
        for (to = i; to > from && (all.p[to - 1] == ' ' || all.p[to - 1] == '\t');)
            to--;
        if ((to - from == n && !strncasecmp(all.p + from, one, n)) || (to - from == 1 && all.p[from] == '*'))
            return true;
    }
    return false;
}

static int vary(struct mg_x *x, const char *name, size_t n)
{
    struct mg_str old;

    if (mg_header_join(x, MG_RESPONSE, "vary", 4, &old) == 0 && list_has(old, name, n))
        return 0;
    return mg_header_add(x, MG_RESPONSE, "vary", 4, name, n);
}

static int decorate(struct mg_x *x, const struct instance *in, struct mg_str origin)
{
    const struct conf *c = in->conf;
    int rc = in->any_origin ? SET(x, "access-control-allow-origin", "*", 1)
                            : SET(x, "access-control-allow-origin", origin.p, origin.n);

    if (rc == 0 && c->credentials)
        rc = SET(x, "access-control-allow-credentials", "true", 4);
    return rc;
}

static void undecorate(struct mg_x *x)
{
    REMOVE(x, "access-control-allow-origin");
    REMOVE(x, "access-control-allow-credentials");
    REMOVE(x, "access-control-expose-headers");
    REMOVE(x, "access-control-allow-methods");
    REMOVE(x, "access-control-allow-headers");
    REMOVE(x, "access-control-allow-private-network");
    REMOVE(x, "access-control-max-age");
}

static bool is_preflight(struct mg_x *x, struct mg_str *origin)
{
    struct mg_str s;

    return mg_request_method(x, &s) == 0 && s.n == 7 && !memcmp(s.p, "OPTIONS", 7)
           && mg_header_get(x, MG_REQUEST, "access-control-request-method", 29, &s) == 0
           && mg_header_get(x, MG_REQUEST, "origin", 6, origin) == 0;
}

static int answer_preflight(struct mg_x *x, const struct instance *in, struct mg_str origin)
{
    const struct conf *c = in->conf;
    struct mg_str asked;
    int rc = decorate(x, in, origin);

    if (rc == 0)
        rc = SET(x, "access-control-allow-methods", in->methods.p, in->methods.n);
    if (rc == 0 && !in->any_header)
        rc = SET(x, "access-control-allow-headers", in->allow_headers.p, in->allow_headers.n);
    else if (rc == 0 && mg_header_get(x, MG_REQUEST, "access-control-request-headers", 30, &asked) == 0)
        rc = SET(x, "access-control-allow-headers", asked.p, asked.n);
    if (rc == 0 && c->max_age_ms > 0)
        rc = SET(x, "access-control-max-age", in->max_age.p, in->max_age.n);
    if (rc == 0 && c->private_network
        && mg_header_get(x, MG_REQUEST, "access-control-request-private-network", 38, &asked) == 0)
        rc = SET(x, "access-control-allow-private-network", "true", 4);
    return rc;
}

static int vary_preflight(struct mg_x *x, const struct instance *in)
{
    int rc = in->any_origin ? 0 : vary(x, "Origin", 6);

    if (rc == 0)
        rc = vary(x, "Access-Control-Request-Method", 29);
    if (rc == 0 && in->any_header)
        rc = vary(x, "Access-Control-Request-Headers", 30);
    if (rc == 0 && in->conf->private_network)
        rc = vary(x, "Access-Control-Request-Private-Network", 38);
    return rc;
}

/* ---- phases ------------------------------------------------------------------------------------- */

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    struct mg_str origin;

    (void)local;
    if (in->conf->forward_preflight || !is_preflight(x, &origin))
        return MG_CONTINUE;
    return mg_respond(x, 204, NULL, 0) < 0 ? MG_ERROR : MG_RESPOND; /* on_response adds the fields */
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    struct mg_str origin = { NULL, 0 };
    bool preflight = is_preflight(x, &origin);
    bool has_origin = preflight || mg_header_get(x, MG_REQUEST, "origin", 6, &origin) == 0;
    int rc;

    (void)local;
    undecorate(x);
    if (preflight)
        rc = vary_preflight(x, in);
    else
        rc = in->any_origin ? 0 : vary(x, "Origin", 6);
    if (rc == 0 && has_origin && allows_origin(in, origin)) {
        rc = preflight ? answer_preflight(x, in, origin) : decorate(x, in, origin);
        if (rc == 0 && !preflight && in->expose_headers.n)
            rc = SET(x, "access-control-expose-headers", in->expose_headers.p, in->expose_headers.n);
    }
    return rc < 0 ? MG_ERROR : MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "cors", .version = "1.0",
    .doc = "Lets web pages of other origins call.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request, .on_response = on_response,
};
