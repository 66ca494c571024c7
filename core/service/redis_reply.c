/* redis_reply.c - hiredis's reader, building our trees.
 *
 * The reader calls one function an item, in the order of the text, which is the order of our nodes. Its own trees are not used: they
 * take an allocation an item, and an array's length is believed before its items have come. hiredis 0.14 reads at most 7 levels. */
#include "service/redis.h"
#include "base/alloc.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_BYTES = 16384, LINE_MAX_BYTES = 65536 };

struct mg_redis_reader {
    redisReader *hiredis;
    struct mg_redis_reply *into;
    const char *why;
    char *rest;               /* bytes not fed yet: hiredis moves its whole buffer at each reply */
    size_t rest_n, rest_at, rest_room;
};

/* ---- trees ---- */

struct mg_redis_reply *mg_redis_reply_new(size_t bytes_max)
{
    struct mg_redis_reply *r = mg_calloc(1, sizeof *r);

    if (r)
        r->bytes_max = bytes_max;
    return r;
}

void mg_redis_reply_clear(struct mg_redis_reply *r)
{
    mg_free(r->nodes);
    mg_free(r->text);
    r->nodes = NULL;
    r->text = NULL;
    r->n = r->room = r->text_n = r->text_room = 0;
    r->error = 0;
}

void mg_redis_reply_free(struct mg_redis_reply *r)
{
    if (!r)
        return;
    mg_redis_reply_clear(r);
    mg_free(r);
}

static bool fails(struct mg_redis_reply *r, int error)
{
    r->error = error;
    return false;
}

static bool may_grow(struct mg_redis_reply *r, size_t text)
{
    size_t used = (r->n + 1) * sizeof *r->nodes + r->text_n;

    if (r->bytes_max && (text > r->bytes_max || used > r->bytes_max - text))
        return fails(r, MG_ETOOBIG);
    if (r->n >= INT32_MAX || r->text_n + text >= UINT32_MAX)
        return fails(r, MG_ETOOBIG);
    return true;
}

static bool room_for_node(struct mg_redis_reply *r)
{
    size_t room = r->room ? r->room * 2 : 1;
    struct mg_redis_node *more;

    if (r->n < r->room)
        return true;
    more = mg_realloc(r->nodes, room * sizeof *more);
    if (!more)
        return fails(r, MG_ENOMEM);
    r->nodes = more;
    r->room = room;
    return true;
}

static bool room_for_text(struct mg_redis_reply *r, size_t n)
{
    size_t room = r->text_room;
    char *more;

    if (r->text_n + n <= room)
        return true;
    room = room ? room * 2 : n;
    if (room < r->text_n + n)
        room = r->text_n + n;
    more = mg_realloc(r->text, room);
    if (!more)
        return fails(r, MG_ENOMEM);
    r->text = more;
    r->text_room = room;
    return true;
}

static bool add(struct mg_redis_reply *r, int kind, int count, int64_t integer, const char *p, size_t n)
{
    if (r->is_dropped)
        return true;
    if (!may_grow(r, n) || !room_for_node(r) || (n && !room_for_text(r, n)))
        return false;
    r->nodes[r->n] = (struct mg_redis_node){ .kind = kind, .count = count, .next = (int32_t)r->n + 1,
                                             .start = (uint32_t)r->text_n, .bytes = (uint32_t)n, .integer = integer };
    r->n++;
    if (n)
        memcpy(r->text + r->text_n, p, n);
    r->text_n += n;
    return true;
}

/* Backwards, so that what is in a node is done before it. */
void mg_redis_reply_finish(struct mg_redis_reply *r)
{
    for (size_t i = r->n; i-- > 0;) {
        int32_t past = (int32_t)i + 1;

        for (int32_t k = 0; k < r->nodes[i].count; k++)
            past = r->nodes[past].next;
        r->nodes[i].next = past;
    }
}

struct mg_str mg_redis_reply_text(const struct mg_redis_reply *r, size_t node)
{
    const struct mg_redis_node *at;

    if (node >= r->n)
        return mg_str(NULL, 0);
    at = &r->nodes[node];
    return at->bytes ? mg_str(r->text + at->start, at->bytes) : mg_str("", 0);
}

int mg_redis_reply_say(struct mg_redis_reply *r, struct mg_str why)
{
    mg_redis_reply_clear(r);
    return add(r, MG_REDIS_ERROR, 0, 0, why.p, why.n) ? 0 : r->error;
}

int mg_redis_reply_list(struct mg_redis_reply *r, int count)
{
    return add(r, MG_REDIS_ARRAY, count, 0, NULL, 0) ? 0 : r->error;
}

int mg_redis_reply_join(struct mg_redis_reply *r, const struct mg_redis_reply *part)
{
    for (size_t i = 0; i < part->n; i++) {
        const struct mg_redis_node *n = &part->nodes[i];

        if (!add(r, n->kind, n->count, n->integer, n->bytes ? part->text + n->start : NULL, n->bytes))
            return r->error;
    }
    return 0;
}

/* ---- back to RESP ---- */

static bool put(char **out, size_t *n, size_t *room, const char *p, size_t bytes)
{
    if (*n + bytes > *room) {
        size_t more = *room * 2 + bytes + 64;
        char *grown = mg_realloc(*out, more);

        if (!grown)
            return false;
        *out = grown;
        *room = more;
    }
    if (bytes)
        memcpy(*out + *n, p, bytes);
    *n += bytes;
    return true;
}

static bool put_node(const struct mg_redis_reply *r, const struct mg_redis_node *node, char **out, size_t *n, size_t *room)
{
    char line[48];
    struct mg_str text = mg_redis_reply_text(r, (size_t)(node - r->nodes));
    int bytes;

    switch (node->kind) {
    case MG_REDIS_NIL:
        return put(out, n, room, "$-1\r\n", 5);
    case MG_REDIS_INTEGER:
        bytes = snprintf(line, sizeof line, ":%lld\r\n", (long long)node->integer);
        return put(out, n, room, line, (size_t)bytes);
    case MG_REDIS_ARRAY:
        bytes = snprintf(line, sizeof line, "*%d\r\n", (int)node->count);
        return put(out, n, room, line, (size_t)bytes);
    case MG_REDIS_STRING:
        bytes = snprintf(line, sizeof line, "$%zu\r\n", text.n);
        break;
    default:
        line[0] = node->kind == MG_REDIS_ERROR ? '-' : '+';
        bytes = 1;
    }
    return put(out, n, room, line, (size_t)bytes) && put(out, n, room, text.p, text.n) && put(out, n, room, "\r\n", 2);
}

int mg_redis_reply_resp(const struct mg_redis_reply *r, size_t from, char **out, size_t *out_n, size_t *room)
{
    if (from >= r->n)
        return 0;
    for (size_t i = from; i < (size_t)r->nodes[from].next; i++)
        if (!put_node(r, &r->nodes[i], out, out_n, room))
            return MG_ENOMEM;
    return 0;
}

/* ---- reading ---- */

static void *made(bool ok)
{
    static char something;

    return ok ? &something : NULL;
}

static struct mg_redis_reply *target(const redisReadTask *t)
{
    return ((struct mg_redis_reader *)t->privdata)->into;
}

static void *make_string(const redisReadTask *t, char *p, size_t n)
{
    int kind = t->type == REDIS_REPLY_ERROR ? MG_REDIS_ERROR : t->type == REDIS_REPLY_STATUS ? MG_REDIS_STATUS : MG_REDIS_STRING;

    return made(add(target(t), kind, 0, 0, p, n));
}

static void *make_array(const redisReadTask *t, int n)
{
    return made(add(target(t), MG_REDIS_ARRAY, n, 0, NULL, 0));
}

static void *make_integer(const redisReadTask *t, long long v)
{
    return made(add(target(t), MG_REDIS_INTEGER, 0, v, NULL, 0));
}

static void *make_nil(const redisReadTask *t)
{
    return made(add(target(t), MG_REDIS_NIL, 0, 0, NULL, 0));
}

static void free_nothing(void *p)
{
    (void)p;
}

static redisReplyObjectFunctions functions = { make_string, make_array, make_integer, make_nil, free_nothing };

struct mg_redis_reader *mg_redis_reader_new(void)
{
    struct mg_redis_reader *r = mg_calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!r->hiredis) {
        mg_free(r);
        return NULL;
    }
    r->hiredis->privdata = r;
    return r;
}

void mg_redis_reader_free(struct mg_redis_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    mg_free(r->rest);
    mg_free(r);
}

int mg_redis_reader_feed(struct mg_redis_reader *r, const char *p, size_t n)
{
    if (r->rest_at == r->rest_n)
        r->rest_at = r->rest_n = 0;
    if (r->rest_n + n > r->rest_room) {
        size_t room = r->rest_n + n;
        char *more = mg_realloc(r->rest, room);

        if (!more)
            return MG_ENOMEM;
        r->rest = more;
        r->rest_room = room;
    }
    memcpy(r->rest + r->rest_n, p, n);
    r->rest_n += n;
    return 0;
}

static int broken(struct mg_redis_reader *r, int code, const char *why)
{
    r->why = why;
    return code;
}

/* The item that hiredis waits to complete: a line may not grow for ever, nor a string beyond what a reply may have. */
static int check_pending(struct mg_redis_reader *r)
{
    const redisReader *h = r->hiredis;
    size_t pending = h->len - h->pos, max = r->into->bytes_max;

    if (max && pending > max + LINE_MAX_BYTES)
        return broken(r, MG_ETOOBIG, "the reply is over the client's limit (reply_max)");
    if (pending > LINE_MAX_BYTES && !memchr(h->buf + h->pos, '\n', LINE_MAX_BYTES))
        return broken(r, MG_EPROTO, "a line without end");
    return 0;
}

static int reader_failed(struct mg_redis_reader *r)
{
    int error = r->into->error;

    if (error == MG_ETOOBIG)
        return broken(r, error, "the reply is over the client's limit (reply_max)");
    if (error == MG_ENOMEM || r->hiredis->err == REDIS_ERR_OOM)
        return broken(r, MG_ENOMEM, "out of memory");
    return broken(r, MG_EPROTO, r->hiredis->errstr);
}

int mg_redis_reader_next(struct mg_redis_reader *r, struct mg_redis_reply *into)
{
    r->into = into;
    for (;;) {
        void *got = NULL;
        size_t n = r->rest_n - r->rest_at;

        if (redisReaderGetReply(r->hiredis, &got) != REDIS_OK)
            return reader_failed(r);
        if (got) {
            if (!into->is_dropped)
                mg_redis_reply_finish(into);
            return 1;
        }
        if (n == 0)
            break;
        n = n < PIECE_BYTES ? n : PIECE_BYTES;
        if (redisReaderFeed(r->hiredis, r->rest + r->rest_at, n) != REDIS_OK)
            return reader_failed(r);
        r->rest_at += n;
    }
    mg_free(r->rest); /* an idle connection keeps no buffer */
    r->rest = NULL;
    r->rest_n = r->rest_at = r->rest_room = 0;
    return check_pending(r);
}

const char *mg_redis_reader_why(const struct mg_redis_reader *r)
{
    return r->why ? r->why : "";
}

char *mg_redis_format(const struct mg_str *argv, int argc, size_t *n)
{
    const char **p = mg_malloc((size_t)argc * sizeof *p);
    size_t *lengths = mg_malloc((size_t)argc * sizeof *lengths);
    char *wire = NULL;
    int bytes = -1;

    for (int i = 0; p && lengths && i < argc; i++) {
        p[i] = argv[i].n ? argv[i].p : "";
        lengths[i] = argv[i].n;
    }
    if (p && lengths)
        bytes = redisFormatCommandArgv(&wire, argc, p, lengths);
    mg_free(p);
    mg_free(lengths);
    if (bytes < 0)
        return NULL;
    *n = (size_t)bytes;
    return wire;
}
