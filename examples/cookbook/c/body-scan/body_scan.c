/* body_scan.c - request bodies are searched for byte strings while they pass: malware signatures, markers of secret documents.
 *
 * Nothing is buffered: each piece is searched when it comes, with the end of the one before it, so that a string that lies over
 * the border of two is found. When one is found the request is answered 403, what went upstream is cut off, and the log tells which
 * rule (never what was sent). Bodies with a content-encoding hide what they hold: they are refused with 415 unless the entry allows
 * them. Limits: plain byte strings of 3 to 256 bytes, given as text or as hex; what went upstream before the string was there has gone. */
#define _GNU_SOURCE /* memmem */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1
#define LONGEST 256

struct rule {
    struct mg_str key; /* its name */
    struct mg_str text;
};
struct conf {
    struct mg_array rules; /* of struct rule */
    bool is_hex;
    bool allow_encoded;
};

static const struct mg_field text_item = { .type = MG_STRING, .has_min = true, .min = 3, .has_max = true, .max = 2 * LONGEST };
static const struct mg_field fields[] = {
    { .name = "strings", .type = MG_MAP, .offset = offsetof(struct conf, rules), .item = &text_item, .item_bytes = sizeof(struct rule),
      .required = true, .has_min = true, .min = 1, .has_max = true, .max = 100, .doc = "What is looked for, by a name for the log." },
    { .name = "hex", .type = MG_BOOL, .offset = offsetof(struct conf, is_hex), .preset = "false", .doc = "Whether they are written as hex." },
    { .name = "allow_encoded", .type = MG_BOOL, .offset = offsetof(struct conf, allow_encoded), .preset = "false",
      .doc = "Let bodies with a content-encoding pass unread." },
    { 0 }
};

struct needle {
    struct mg_str name;
    size_t n;
    char bytes[LONGEST];
};
struct scanner {
    bool allow_encoded;
    size_t n, longest;
    struct needle needles[];
};

/* The end of what has passed, less than the longest string. */
struct state {
    size_t n;
    char end[LONGEST];
};

static int fill(struct needle *out, const struct rule *r, bool is_hex, struct mg_error *err)
{
    struct mg_str bytes = r->text;

    if ((is_hex && mg_hex_decode(r->text.p, r->text.n, &bytes) < 0) || bytes.n < 3 || bytes.n > LONGEST) {
        snprintf(err->message, sizeof(err->message), "strings.%.*s: 3 to %d bytes expected%s", (int)r->key.n, r->key.p, LONGEST,
                 is_hex ? ", as hex" : "");
        return err->code = MG_ECONF;
    }
    out->name = r->key;
    out->n = bytes.n;
    memcpy(out->bytes, bytes.p, bytes.n);
    return 0;
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    const struct conf *c = entry->conf;
    const struct rule *rules = c->rules.items;
    struct scanner *s = calloc(1, sizeof(*s) + c->rules.n * sizeof(s->needles[0]));

    if (!s) {
        snprintf(err->message, sizeof(err->message), "out of memory");
        return err->code = MG_ENOMEM;
    }
    s->allow_encoded = c->allow_encoded;
    for (; s->n < c->rules.n; s->n++) {
        if (fill(&s->needles[s->n], &rules[s->n], c->is_hex, err) < 0) {
            free(s);
            return err->code;
        }
        if (s->needles[s->n].n > s->longest)
            s->longest = s->needles[s->n].n;
    }
    *self = s;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct scanner *s = self;
    struct mg_str coding;

    if (s->allow_encoded || mg_header_get(x, MG_REQUEST, "content-encoding", 16, &coding) < 0)
        return MG_CONTINUE;
    return mg_respond_error(x, 415, LIT("Send the body without a content-encoding.")) < 0 ? MG_ERROR : MG_RESPOND;
}

static const struct needle *find(const struct scanner *s, const char *p, size_t n)
{
    for (size_t i = 0; i < s->n; i++)
        if (memmem(p, n, s->needles[i].bytes, s->needles[i].n))
            return &s->needles[i];
    return NULL;
}

/* Over the border: the end that was kept, and as much of the piece as the rest of a string could be. */
static const struct needle *find_over_border(const struct scanner *s, const struct state *st, struct mg_str piece)
{
    char both[2 * LONGEST];
    size_t more = piece.n < s->longest - 1 ? piece.n : s->longest - 1;

    if (st->n == 0)
        return NULL;
    memcpy(both, st->end, st->n);
    memcpy(both + st->n, piece.p, more);
    return find(s, both, st->n + more);
}

static void keep_end(const struct scanner *s, struct state *st, struct mg_str piece)
{
    size_t room = s->longest - 1, old;

    if (piece.n >= room) {
        memcpy(st->end, piece.p + piece.n - room, room);
        st->n = room;
        return;
    }
    old = st->n + piece.n > room ? room - piece.n : st->n;
    memmove(st->end, st->end + st->n - old, old);
    memcpy(st->end + old, piece.p, piece.n);
    st->n = old + piece.n;
}

static enum mg_verdict refuse(struct mg_x *x, const struct needle *found)
{
    mg_log_text("rule", 4, found->name.p, found->name.n);
    mg_log(MG_LOG_WARN, LIT("a body was cut off"));
    return mg_respond_error(x, 403, LIT("This body is not allowed.")) < 0 ? MG_ERROR : MG_RESPOND;
}

static enum mg_verdict on_request_body(struct mg_x *x, void *self, void *local)
{
    const struct scanner *s = self;
    struct state *st = mg_x_local(x, sizeof(*st));
    const struct needle *found;
    struct mg_str piece;

    if (!st || mg_piece_get(x, &piece) < 0)
        return MG_ERROR;
    if (piece.n == 0)
        return MG_CONTINUE;
    found = find_over_border(s, st, piece);
    if (!found)
        found = find(s, piece.p, piece.n);
    if (found)
        return refuse(x, found);
    keep_end(s, st, piece);
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "body-scan", .version = "1.0",
    .doc = "Searches request bodies for byte strings while they pass.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request, .on_request_body = on_request_body,
};
