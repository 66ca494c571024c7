#include "http/framing.h"
#include "http/uri.h"

#include <arpa/inet.h>

#define BIT(id) (UINT64_C(1) << (id))

/* Fields of one connection: they become facts of the head. */
static const uint64_t HOP_BY_HOP = BIT(MG_H_CONNECTION) | BIT(MG_H_KEEP_ALIVE) | BIT(MG_H_PROXY_CONNECTION) | BIT(MG_H_TE) |
                                   BIT(MG_H_TRAILER) | BIT(MG_H_TRANSFER_ENCODING) | BIT(MG_H_UPGRADE) |
                                   BIT(MG_H_CONTENT_LENGTH) | BIT(MG_H_EXPECT);
/* Fields that Connection must not take away from a request. */
static const uint64_t PROTECTED = BIT(MG_H_HOST) | BIT(MG_H_AUTHORIZATION) | BIT(MG_H_COOKIE) | BIT(MG_H_FORWARDED) |
                                  BIT(MG_H_VIA) | BIT(MG_H_X_FORWARDED_FOR) | BIT(MG_H_X_FORWARDED_HOST) |
                                  BIT(MG_H_X_FORWARDED_PORT) | BIT(MG_H_X_FORWARDED_PROTO) | BIT(MG_H_X_REAL_IP);

static int refuse(struct mg_refusal *no, int status, const char *why)
{
    no->status = status;
    no->why = why;
    return MG_EPROTO;
}

/* What the fields of a head say about its framing. */
struct said {
    bool close, keep_alive, upgrade, chunked;
    bool names; /* Connection names other fields */
    int64_t length; /* -1: not said */
};

/* "100", "5": digits and nothing else, up to 2^63-1. "5, 5", "+5", "0x5", "" are refused (RFC 9112, 6.3). */
static int read_length(struct mg_str value, struct said *s, struct mg_refusal *no)
{
    uint64_t n;

    if (s->length >= 0)
        return refuse(no, 400, "content-length repeated");
    if (!mg_str_u64(value, INT64_MAX, &n))
        return refuse(no, 400, "bad content-length");
    s->length = (int64_t)n;
    return 0;
}

/* One field that says "chunked" is all that is understood. Other codings in front of a final chunked could be
 * passed on by nobody who does not undo them: 501 (RFC 9112, 6.1); anything else leaves the length unknown: 400. */
static int read_coding(struct mg_str value, const struct mg_head *head, struct said *s, struct mg_refusal *no)
{
    struct mg_str item, last = mg_str("", 0);
    int count = 0, chunked = 0;

    if (s->chunked)
        return refuse(no, 400, "transfer-encoding repeated");
    if (head->version == 10)
        return refuse(no, 400, "transfer-encoding in HTTP/1.0");
    if (head->version >= 20)
        return refuse(no, 400, "transfer-encoding in HTTP/2");
    s->chunked = mg_str_ieq(value, MG_STR("chunked"));
    if (s->chunked)
        return 0;
    while (mg_str_next(&value, ',', &item)) {
        if (!mg_header_name_ok(item))
            return refuse(no, 400, "bad transfer-encoding");
        chunked += mg_str_ieq(item, MG_STR("chunked"));
        count++;
        last = item;
    }
    if (count > 1 && chunked == 1 && mg_str_ieq(last, MG_STR("chunked")))
        return refuse(no, 501, "transfer coding not known");
    return refuse(no, 400, "transfer-encoding does not end in chunked");
}

/* Connection's own words; those that name fields are handled by drop_named, once all are known. */
static int read_connection(struct mg_str value, bool is_request, struct said *s, struct mg_refusal *no)
{
    struct mg_str item;

    while (mg_str_next(&value, ',', &item)) {
        if (item.n == 0)
            continue;
        if (!mg_header_name_ok(item))
            return refuse(no, 400, "bad connection field");
        if (mg_str_ieq(item, MG_STR("close")))
            s->close = true;
        else if (mg_str_ieq(item, MG_STR("keep-alive")))
            s->keep_alive = true;
        else if (mg_str_ieq(item, MG_STR("upgrade")))
            s->upgrade = true;
        else if (is_request && (PROTECTED & BIT(mg_header_id_of(item))))
            return refuse(no, 400, "connection names a field that must not be removed");
        else
            s->names = true;
    }
    return 0;
}

static void drop_named(struct mg_headers *h, struct mg_str value)
{
    struct mg_str item;

    while (mg_str_next(&value, ',', &item))
        if (item.n > 0)
            mg_headers_remove(h, item);
}

static bool list_has(struct mg_str list, struct mg_str word)
{
    struct mg_str item;

    while (mg_str_next(&list, ',', &item))
        if (mg_str_ieq(item, word))
            return true;
    return false;
}

static struct mg_str value_of(const struct mg_header *f)
{
    return mg_str(f->value, f->value_n);
}

/* Read and take out one field of the connection. */
static int read_hop(struct mg_header *f, struct mg_head *head, bool is_request, struct said *s, struct mg_refusal *no)
{
    switch (f->id) {
    case MG_H_CONTENT_LENGTH:
        return read_length(value_of(f), s, no);
    case MG_H_TRANSFER_ENCODING:
        return read_coding(value_of(f), head, s, no);
    case MG_H_CONNECTION:
        return read_connection(value_of(f), is_request, s, no);
    case MG_H_TE:
        head->accepts_trailers |= list_has(value_of(f), MG_STR("trailers"));
        return 0;
    case MG_H_TRAILER:
        if (head->trailer.n == 0)
            head->trailer = value_of(f);
        return 0;
    case MG_H_UPGRADE:
        if (head->upgrade.n == 0)
            head->upgrade = value_of(f);
        return 0;
    case MG_H_EXPECT:
        if (!is_request || head->version < 11) /* RFC 9110, 10.1.1: HTTP/1.0 knows none */
            return 0;
        if (!mg_str_ieq(value_of(f), MG_STR("100-continue")))
            return refuse(no, 417, "expectation not known");
        head->expects_continue = true;
        return 0;
    default: /* Keep-Alive and Proxy-Connection say nothing that we use */
        return 0;
    }
}

static int read_hops(struct mg_head *head, bool is_request, struct said *s, struct mg_refusal *no)
{
    struct mg_headers *h = &head->headers;

    *s = (struct said){ .length = -1 };
    head->upgrade = head->trailer = mg_str("", 0);
    head->expects_continue = head->accepts_trailers = false;
    head->length = -1;
    if (h->present & HOP_BY_HOP) {
        for (uint32_t i = 0; i < h->n; i++) {
            struct mg_header *f = &h->at[i];

            if (!f->name || !(HOP_BY_HOP & BIT(f->id)))
                continue;
            if (read_hop(f, head, is_request, s, no) != 0)
                return MG_EPROTO;
            f->name = NULL;
        }
        for (uint32_t i = 0; s->names && i < h->n; i++)
            if (h->at[i].id == MG_H_CONNECTION)
                drop_named(h, value_of(&h->at[i]));
    }
    if (!s->upgrade || head->version < 11)
        head->upgrade = mg_str("", 0);
    /* Both lengths at once is how requests are smuggled past a proxy, so we refuse rather than choose one
     * (RFC 9112, 6.1, 6.3, 11.2). */
    if (s->chunked && s->length >= 0)
        return refuse(no, 400, "both content-length and transfer-encoding");
    head->closes = s->close || (head->version == 10 && !s->keep_alive);
    return 0;
}

/* ---- requests ------------------------------------------------------------------------------ */

/* The authority and default port of an absolute target; false when it is not one that we serve. */
static bool absolute_authority(struct mg_str t, struct mg_str *authority, int *port)
{
    size_t n = t.n > 5 && t.p[4] == ':' ? 4 : 5, i;

    if (t.n < n + 4 || memcmp(t.p + n, "://", 3) != 0 || !mg_str_ieq(mg_str(t.p, n), n == 4 ? MG_STR("http") : MG_STR("https")))
        return false;
    *port = n == 4 ? 80 : 443;
    for (i = n + 3; i < t.n && t.p[i] != '/' && t.p[i] != '?'; i++)
        ;
    *authority = mg_str(t.p + n + 3, i - n - 3);
    return true;
}

static bool same_authority(struct mg_str a, struct mg_str b, int preset)
{
    struct mg_str ha, hb;
    int pa, pb;

    if (!mg_authority_ok(a, &ha, &pa, NULL) || !mg_authority_ok(b, &hb, &pb, NULL))
        return false;
    return (pa ? pa : preset) == (pb ? pb : preset) && mg_str_ieq(ha, hb);
}

/* RFC 9112, 3.2: one Host, valid, and the same as an absolute target's authority. (A proxy may ignore Host then; but
 * whoever sends two different ones is up to something.) */
static int check_host(struct mg_head *head, struct mg_arena *a, struct mg_refusal *no)
{
    const struct mg_header *f = mg_headers_find_id(&head->headers, MG_H_HOST);
    struct mg_str authority = mg_str("", 0);
    int port = 0;

    if (f && mg_headers_next(&head->headers, f))
        return refuse(no, 400, "host repeated");
    if (!f && head->version >= 11 && (head->version < 20 || head->authority.n == 0))
        return refuse(no, 400, "no host");
    if (f && !mg_authority_ok(value_of(f), &head->host, &head->port, a))
        return refuse(no, 400, "bad host");
    if (head->target.p[0] != '/' && head->target.p[0] != '*') {
        if (!absolute_authority(head->target, &authority, &port))
            return refuse(no, 400, "bad target");
        if (!mg_authority_ok(authority, &head->host, &head->port, a))
            return refuse(no, 400, "bad authority in the target");
        if (f && !same_authority(authority, value_of(f), port))
            return refuse(no, 400, "host differs from the target's");
        head->authority = authority;
        if (!f && mg_headers_add_id(&head->headers, a, MG_H_HOST, authority) != 0)
            return refuse(no, 503, "out of memory");
        return 0;
    }
    if (f)
        head->authority = value_of(f);
    else if (head->authority.n && !mg_authority_ok(head->authority, &head->host, &head->port, a)) /* HTTP/2's pseudo-field */
        return refuse(no, 400, "bad host");
    return 0;
}

static int check_target(const struct mg_head *head, struct mg_refusal *no)
{
    struct mg_str t = head->target;

    if (head->method == MG_M_CONNECT)
        return refuse(no, 501, "CONNECT is not served");
    if (t.n == 0)
        return refuse(no, 400, "no target");
    if (memchr(t.p, '#', t.n))
        return refuse(no, 400, "fragment in the target");
    if (t.p[0] == '*' && (t.n > 1 || head->method != MG_M_OPTIONS))
        return refuse(no, 400, "bad target");
    return 0;
}

int mg_framing_request(struct mg_head *head, struct mg_arena *a, struct mg_refusal *no)
{
    struct said s;

    head->authority = head->version >= 20 ? head->authority : mg_str("", 0);
    head->host = mg_str("", 0);
    head->port = 0;
    if (check_target(head, no) != 0 || check_host(head, a, no) != 0 || read_hops(head, true, &s, no) != 0)
        return MG_EPROTO;
    head->framing = s.chunked ? MG_BODY_STREAM : s.length >= 0 ? MG_BODY_LENGTH : MG_BODY_NONE;
    head->length = s.length;
    if (head->method == MG_M_TRACE && (s.chunked || s.length > 0))
        return refuse(no, 400, "TRACE with a body"); /* RFC 9110, 9.3.8 */
    if (head->framing == MG_BODY_NONE)
        head->expects_continue = false;
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------- */

int mg_framing_response(struct mg_head *head, int to_method, struct mg_arena *a, struct mg_refusal *no)
{
    struct said s;

    (void)a;
    if (head->status < 100 || head->status > 599)
        return refuse(no, 0, "odd status");
    if (read_hops(head, false, &s, no) != 0) {
        no->status = 0;
        return MG_EPROTO;
    }
    head->length = s.length;
    head->framing = MG_BODY_NONE;
    if (head->status == 101)
        return refuse(no, 0, "101 that nobody asked for");
    if (head->status < 200 || head->status == 204) { /* RFC 9112, 6.1; RFC 9110, 8.6. A length of 0 does no harm. */
        head->length = -1;
        return s.chunked || s.length > 0 ? refuse(no, 0, "a body where none can be") : 0;
    }
    if (to_method == MG_M_HEAD || head->status == 304)
        return 0;
    if (s.chunked) {
        head->framing = MG_BODY_STREAM;
    } else if (s.length >= 0) {
        head->framing = MG_BODY_LENGTH;
    } else {
        head->framing = MG_BODY_CLOSE;
        head->closes = true;
    }
    return 0;
}

/* ---- trailers ------------------------------------------------------------------------------- */

/* RFC 9110, 6.5.1: what frames, routes, authenticates or says how to read the content must come before it. */
static const uint64_t NOT_TRAILING = BIT(MG_H_CONTENT_LENGTH) | BIT(MG_H_TRANSFER_ENCODING) | BIT(MG_H_HOST) | BIT(MG_H_TRAILER) |
                                     BIT(MG_H_EXPECT) | BIT(MG_H_AUTHORIZATION) | BIT(MG_H_COOKIE) | BIT(MG_H_CONTENT_TYPE) |
                                     BIT(MG_H_CONTENT_ENCODING) | BIT(MG_H_LOCATION) | BIT(MG_H_FORWARDED) | BIT(MG_H_VIA) |
                                     BIT(MG_H_X_FORWARDED_FOR) | BIT(MG_H_X_FORWARDED_HOST) | BIT(MG_H_X_FORWARDED_PORT) |
                                     BIT(MG_H_X_FORWARDED_PROTO) | BIT(MG_H_X_REAL_IP);

int mg_framing_trailers(struct mg_headers *t, struct mg_refusal *no)
{
    static const struct mg_str others[] = { { "content-range", 13 }, { "set-cookie", 10 }, { "proxy-authorization", 19 } };

    if (t->present & NOT_TRAILING)
        return refuse(no, 400, "a field that cannot be a trailer");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (mg_headers_find(t, others[i]))
            return refuse(no, 400, "a field that cannot be a trailer");
    for (uint32_t i = 0; i < t->n; i++)
        if (t->at[i].name && t->at[i].id == MG_H_CONNECTION)
            drop_named(t, value_of(&t->at[i]));
    for (uint32_t i = 0; i < t->n; i++)
        if (t->at[i].name && (HOP_BY_HOP & BIT(t->at[i].id)))
            t->at[i].name = NULL;
    return 0;
}

/* ---- authorities ----------------------------------------------------------------------------- */

/* Letters, digits and "-._~": what DNS and containers use. Upper case is told apart, to know when a copy is needed. */
enum { HOST_CHAR = 1, HOST_UPPER = 2, HOST_DOT = 4 };
static const uint8_t host_class[256] = {
    ['a' ... 'z'] = HOST_CHAR, ['0' ... '9'] = HOST_CHAR, ['-'] = HOST_CHAR, ['_'] = HOST_CHAR, ['~'] = HOST_CHAR,
    ['A' ... 'Z'] = HOST_CHAR | HOST_UPPER, ['.'] = HOST_DOT,
};

static bool port_ok(struct mg_str s, int *port)
{
    uint64_t n;

    *port = 0;
    if (s.n == 0) /* "host:" is the same as "host" (RFC 3986, 3.2.3) */
        return true;
    if (s.n > 5 || !mg_str_u64(s, 65535, &n) || n == 0)
        return false;
    *port = (int)n;
    return true;
}

static bool bracketed_ok(struct mg_str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (s.n < 2 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return strlen(text) == s.n && inet_pton(AF_INET6, text, &addr) == 1;
}

/* The name part: its length, or 0 when it is no valid name. */
static size_t name_length(struct mg_str s, bool *has_upper)
{
    size_t i = 0, label = 0; /* where the label began: it must not be empty */
    unsigned seen = 0;

    for (; i < s.n; i++) {
        uint8_t c = host_class[(uint8_t)s.p[i]];

        seen |= c;
        if (c & HOST_CHAR)
            continue;
        if (s.p[i] == ':')
            break;
        if (c != HOST_DOT || i == label)
            return 0;
        label = i + 1;
    }
    *has_upper = seen & HOST_UPPER;
    return i <= 255 ? i : 0;
}

bool mg_authority_ok(struct mg_str authority, struct mg_str *host, int *port, struct mg_arena *a)
{
    struct mg_str rest, name;
    bool has_upper = false;
    int number = 0;

    if (authority.n == 0)
        return false;
    if (authority.p[0] == '[') {
        const char *close = memchr(authority.p, ']', authority.n);

        if (!close || !bracketed_ok(mg_str(authority.p + 1, (size_t)(close - authority.p) - 1)))
            return false;
        name = mg_str(authority.p, (size_t)(close - authority.p) + 1);
        has_upper = true; /* hex digits may be */
    } else {
        name = mg_str(authority.p, name_length(authority, &has_upper));
        if (name.n == 0)
            return false;
    }
    rest = mg_str(authority.p + name.n, authority.n - name.n);
    if (rest.n > 0 && (rest.p[0] != ':' || !port_ok(mg_str(rest.p + 1, rest.n - 1), &number)))
        return false;
    if (name.p[name.n - 1] == '.') /* the root of DNS */
        name.n--;
    if (host && a && has_upper) {
        char *p = mg_arena_alloc(a, name.n);

        if (!p)
            return false;
        for (size_t i = 0; i < name.n; i++)
            p[i] = mg_lower(name.p[i]);
        name.p = p;
    }
    if (host)
        *host = name;
    if (port)
        *port = number;
    return true;
}
