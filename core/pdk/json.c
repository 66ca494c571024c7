/* json.c - RFC 8259 text to nodes in the order of the text.
 *
 * Strict: what JSONTestSuite says must be refused is, and of what it leaves open we refuse what cannot be told back without
 * loss or doubt: a byte order mark, bytes that are no UTF-8, and \u escapes of half a surrogate pair (section 8.2: their meaning
 * is unpredictable). Numbers of any size pass, as their digits. Names may repeat. */
#include "base/alloc.h"
#include "base/str.h"
#include "base/text.h"
#include "base/scratch.h"

#include <stdio.h>

enum { DEPTH_MAX = 128, NODES_FIRST = 64 };

struct decoded { struct decoded *next; char bytes[]; };

struct mg_json {
    char *text;
    size_t text_n;
    struct mg_json_node *nodes;
    size_t n, room;
    struct decoded *decoded;   /* strings that had escapes, as far as somebody asked */
    struct mg_str *texts;      /* by node, made at the first such question */
};

struct parser {
    struct mg_json *doc;
    const char *p, *at, *end;
    const char *why;           /* NULL while all is well */
    int depth;
};

static bool fail(struct parser *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return false;
}

static void skip_space(struct parser *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

/* The new node's number, -1 when out of memory. */
static int node_add(struct parser *s, int kind, int key)
{
    struct mg_json *d = s->doc;

    if (d->n == d->room) {
        size_t room = d->room ? d->room * 2 : NODES_FIRST;
        struct mg_json_node *more = mg_realloc(d->nodes, room * sizeof *more);

        if (!more) {
            fail(s, "out of memory");
            return -1;
        }
        d->nodes = more;
        d->room = room;
    }
    d->nodes[d->n] = (struct mg_json_node){ .kind = kind, .next = (int32_t)d->n + 1, .key = key, .start = (uint32_t)(s->at - s->p) };
    return (int)d->n++;
}

static bool node_end(struct parser *s, int node)
{
    s->doc->nodes[node].end = (uint32_t)(s->at - s->p);
    s->doc->nodes[node].next = (int32_t)s->doc->n;
    return true;
}

static int hex4(const char *p, const char *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i], low = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* After the backslash. */
static bool escape_ok(struct parser *s)
{
    int unit, low;

    if (s->at == s->end)
        return fail(s, "the text ends inside a string");
    if (*s->at != 'u') {
        if (!strchr("\"\\/bfnrt", *s->at) || !*s->at)
            return fail(s, "an escape that JSON does not have");
        s->at++;
        return true;
    }
    unit = hex4(s->at + 1, s->end);
    if (unit < 0)
        return fail(s, "\\u needs four hex digits");
    s->at += 5;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    low = unit < 0xdc00 && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u' ? hex4(s->at + 2, s->end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(s, "\\u escapes half of a surrogate pair");
    s->at += 6;
    return true;
}

static bool string(struct parser *s, int key)
{
    int node = node_add(s, MG_JSON_STRING, key);

    if (node < 0)
        return false;
    s->at++;
    for (;;) {
        unsigned char c;
        size_t n;

        while (s->at < s->end && (c = (unsigned char)*s->at) >= 0x20 && c < 0x80 && c != '"' && c != '\\')
            s->at++;
        if (s->at == s->end)
            return fail(s, "the text ends inside a string");
        c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return node_end(s, node);
        }
        if (c < 0x20)
            return fail(s, "a control character in a string must be escaped");
        if (c == '\\') {
            s->at++;
            if (!escape_ok(s))
                return false;
            continue;
        }
        n = mg_utf8_length(s->at, (size_t)(s->end - s->at));
        if (!n)
            return fail(s, "bytes that are no UTF-8");
        s->at += n;
    }
}

static bool digits(struct parser *s)
{
    const char *from = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from || fail(s, "a digit is missing in a number");
}

static bool number(struct parser *s, int key)
{
    int node = node_add(s, MG_JSON_NUMBER, key);

    if (node < 0)
        return false;
    if (*s->at == '-')
        s->at++;
    if (s->at < s->end && *s->at == '0')
        s->at++;
    else if (!digits(s))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (!digits(s))
            return false;
    }
    return node_end(s, node);
}

static bool word(struct parser *s, int key, int kind, struct mg_str w)
{
    int node;

    if ((size_t)(s->end - s->at) < w.n || memcmp(s->at, w.p, w.n))
        return fail(s, "a value is missing");
    node = node_add(s, kind, key);
    if (node < 0)
        return false;
    s->at += w.n;
    return node_end(s, node);
}

static bool value(struct parser *s, int key);

static bool member(struct parser *s)
{
    int key = (int)s->doc->n;

    if (s->at == s->end || *s->at != '"')
        return fail(s, "a name in double quotes is missing");
    if (!string(s, -1))
        return false;
    skip_space(s);
    if (s->at == s->end || *s->at != ':')
        return fail(s, "a colon is missing");
    s->at++;
    skip_space(s);
    return value(s, key);
}

static bool container(struct parser *s, int key)
{
    bool is_object = *s->at == '{';
    char close = is_object ? '}' : ']';
    int node = node_add(s, is_object ? MG_JSON_OBJECT : MG_JSON_ARRAY, key), count = 0;

    if (node < 0)
        return false;
    if (++s->depth > DEPTH_MAX)
        return fail(s, "nested deeper than 128");
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == close) {
        s->at++;
        s->depth--;
        return node_end(s, node);
    }
    for (;;) {
        if (is_object ? !member(s) : !value(s, -1))
            return false;
        count++;
        skip_space(s);
        if (s->at == s->end)
            return fail(s, is_object ? "the text ends inside an object" : "the text ends inside an array");
        if (*s->at == close)
            break;
        if (*s->at != ',')
            return fail(s, is_object ? "a comma or } is missing" : "a comma or ] is missing");
        s->at++;
        skip_space(s);
    }
    s->at++;
    s->depth--;
    s->doc->nodes[node].count = count;
    return node_end(s, node);
}

static bool value(struct parser *s, int key)
{
    if (s->at == s->end)
        return fail(s, "a value is missing");
    switch (*s->at) {
    case '{':
    case '[':
        return container(s, key);
    case '"':
        return string(s, key);
    case 't':
        return word(s, key, MG_JSON_TRUE, MG_STR("true"));
    case 'f':
        return word(s, key, MG_JSON_FALSE, MG_STR("false"));
    case 'n':
        return word(s, key, MG_JSON_NULL, MG_STR("null"));
    default:
        return *s->at == '-' || (*s->at >= '0' && *s->at <= '9') ? number(s, key) : fail(s, "a value is missing");
    }
}

static void explain(const struct parser *s, char *error, size_t room)
{
    size_t line = 1, column = 1;

    if (!error || !room)
        return;
    for (const char *p = s->p; p < s->at; p++) {
        column++;
        if (*p == '\n') {
            line++;
            column = 1;
        }
    }
    snprintf(error, room, "line %zu, column %zu: %s", line, column, s->why);
}

struct mg_json *mg_json_parse(const char *text, size_t n, char *error, size_t error_n)
{
    struct mg_json *doc = n <= INT32_MAX ? mg_calloc(1, sizeof *doc) : NULL;
    struct parser s;

    if (doc)
        doc->text = mg_malloc(n + 1);
    if (!doc || !doc->text) {
        mg_free(doc);
        if (error && error_n)
            snprintf(error, error_n, "%s", n > INT32_MAX ? "longer than 2 GiB" : "out of memory");
        return NULL;
    }
    if (n)
        memcpy(doc->text, text, n);
    doc->text[n] = 0;
    doc->text_n = n;
    s = (struct parser){ .doc = doc, .p = doc->text, .at = doc->text, .end = doc->text + n };
    skip_space(&s);
    if (value(&s, -1)) {
        skip_space(&s);
        if (s.at == s.end)
            return doc;
        fail(&s, "something follows the value");
    }
    explain(&s, error, error_n);
    mg_json_free(doc);
    return NULL;
}

void mg_json_free(struct mg_json *doc)
{
    if (!doc)
        return;
    while (doc->decoded) {
        struct decoded *d = doc->decoded;

        doc->decoded = d->next;
        mg_free(d);
    }
    mg_free(doc->texts);
    mg_free(doc->nodes);
    mg_free(doc->text);
    mg_free(doc);
}

const struct mg_json_node *mg_json_nodes(const struct mg_json *doc, size_t *n)
{
    *n = doc->n;
    return doc->nodes;
}

static size_t put_utf8(char *o, uint32_t c)
{
    if (c < 0x80) {
        o[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        o[0] = (char)(0xc0 | c >> 6);
        o[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        o[0] = (char)(0xe0 | c >> 12);
        o[1] = (char)(0x80 | (c >> 6 & 63));
        o[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    o[0] = (char)(0xf0 | c >> 18);
    o[1] = (char)(0x80 | (c >> 12 & 63));
    o[2] = (char)(0x80 | (c >> 6 & 63));
    o[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Escapes were checked when the text was parsed. An escape is never shorter than what it stands for. */
static size_t unescape(char *o, const char *p, const char *end)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char *begin = o;

    while (p < end) {
        const char *known;
        uint32_t c;

        if (*p != '\\') {
            *o++ = *p++;
            continue;
        }
        p++;
        if (*p != 'u') {
            known = strchr(from, *p);
            *o++ = known ? to[known - from] : *p;
            p++;
            continue;
        }
        c = (uint32_t)hex4(p + 1, end);
        p += 5;
        if (c >= 0xd800 && c <= 0xdbff) {
            c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)hex4(p + 2, end) - 0xdc00);
            p += 6;
        }
        o += put_utf8(o, c);
    }
    return (size_t)(o - begin);
}

static int decode(struct mg_json *doc, int node, struct mg_str inside, struct mg_str *out)
{
    struct decoded *d;

    if (!doc->texts)
        doc->texts = mg_calloc(doc->n, sizeof *doc->texts);
    if (!doc->texts)
        return MG_ENOMEM;
    if (!doc->texts[node].p) {
        d = mg_malloc(sizeof *d + inside.n + 1);
        if (!d)
            return MG_ENOMEM;
        d->next = doc->decoded;
        doc->decoded = d;
        doc->texts[node] = mg_str(d->bytes, unescape(d->bytes, inside.p, inside.p + inside.n));
        d->bytes[doc->texts[node].n] = 0;
    }
    *out = doc->texts[node];
    return 0;
}

int mg_json_raw(const struct mg_json *doc, int node, struct mg_str *out)
{
    *out = mg_str(NULL, 0);
    if (node < 0 || (size_t)node >= doc->n)
        return MG_ENOENT;
    *out = mg_str(doc->text + doc->nodes[node].start, doc->nodes[node].end - doc->nodes[node].start);
    return 0;
}

int mg_json_text(struct mg_json *doc, int node, struct mg_str *out)
{
    int rc = mg_json_raw(doc, node, out);

    if (rc || doc->nodes[node].kind != MG_JSON_STRING)
        return rc;
    out->p++;
    out->n -= 2;
    return memchr(out->p, '\\', out->n) ? decode(doc, node, *out, out) : 0;
}

int mg_json_quote(const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    struct mg_text t;
    char *to;

    *out = mg_str(NULL, 0);
    if (n > SIZE_MAX / 8 || !(to = mg_scratch_take(&s, n * 6 + 3)))
        return MG_ENOMEM;
    mg_text_init(&t, to, n * 6 + 3);
    mg_text_put(&t, "\"", 1);
    mg_text_escape(&t, mg_str(p, n), MG_TEXT_JSON);
    mg_text_put(&t, "\"", 1);
    *out = mg_str(t.p, t.n);
    return 0;
}
