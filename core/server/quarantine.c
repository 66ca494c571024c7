#include "server/quarantine.h"

#include <stdio.h>
#include <string.h>

void mg_quarantine_init(struct mg_quarantine *q)
{
    memset(q, 0, sizeof *q);
    q->rules = (struct mg_quarantine_rules){ .crashes = 3, .window_ms = 5 * 60 * 1000, .end_ms = 60 * 1000 };
    pthread_mutex_init(&q->lock, NULL);
}

static bool is_whole(const struct mg_blame *b) { return !b->entry[0] && !b->route[0]; }

static bool is_load(const struct mg_blame *b) { return strcmp(b->entry, MG_BLAME_LOAD) == 0 && !b->route[0]; }

static bool same(const struct mg_blame *a, const struct mg_blame *b)
{
    return strcmp(a->plugin, b->plugin) == 0 && strcmp(a->entry, b->entry) == 0 && strcmp(a->route, b->route) == 0;
}

static int64_t last_of(const struct mg_suspect *s)
{
    return s->crashes ? s->at_ms[(s->crashes - 1) % MG_QUARANTINE_CRASHES_MAX] : 0;
}

/* When all places are taken the one that has been quiet longest goes, those that are out last. */
static struct mg_suspect *place_for(struct mg_quarantine *q, const struct mg_blame *b)
{
    struct mg_suspect *oldest = &q->all[0];

    for (int i = 0; i < q->n; i++) {
        struct mg_suspect *s = &q->all[i];

        if (same(&s->blame, b))
            return s;
        if (s->is_out < oldest->is_out || (s->is_out == oldest->is_out && last_of(s) < last_of(oldest)))
            oldest = s;
    }
    if (q->n < MG_SUSPECTS_MAX)
        oldest = &q->all[q->n++];
    memset(oldest, 0, sizeof *oldest);
    oldest->blame = *b;
    return oldest;
}

static int within(const struct mg_suspect *s, int64_t since_ms)
{
    uint64_t known = s->crashes < MG_QUARANTINE_CRASHES_MAX ? s->crashes : MG_QUARANTINE_CRASHES_MAX;
    int n = 0;

    for (uint64_t i = 0; i < known; i++)
        n += s->at_ms[i] >= since_ms;
    return n;
}

static bool put_out(struct mg_suspect *s, int64_t wall_us)
{
    bool is_new = !s->is_out;

    s->is_out = true;
    s->out_since_us = is_new ? wall_us : s->out_since_us;
    return is_new;
}

/* Functions written in the config are all called the same, and have nothing in common. */
static bool whole_plugin(struct mg_quarantine *q, const struct mg_blame *b, int64_t now_ms, int64_t wall_us)
{
    struct mg_blame whole = *b;
    int n = 0;

    if (strcmp(b->plugin, "inline") == 0 || is_whole(b) || is_load(b))
        return false;
    for (int i = 0; i < q->n; i++)
        if (strcmp(q->all[i].blame.plugin, b->plugin) == 0 && !is_load(&q->all[i].blame))
            n += within(&q->all[i], now_ms - q->rules.window_ms);
    if (n < 2 * q->rules.crashes)
        return false;
    whole.entry[0] = whole.route[0] = '\0';
    whole.digest = whole.file; /* entries have their own configs */
    return put_out(place_for(q, &whole), wall_us);
}

static void close_texts(struct mg_blame *b)
{
    b->plugin[sizeof b->plugin - 1] = b->entry[sizeof b->entry - 1] = b->route[sizeof b->route - 1] = '\0';
    b->phase[sizeof b->phase - 1] = b->cause[sizeof b->cause - 1] = '\0';
}

bool mg_quarantine_count(struct mg_quarantine *q, const struct mg_blame *blame, int64_t now_ms, int64_t wall_us)
{
    struct mg_blame b = *blame;
    struct mg_suspect *s;
    bool is_new = false;

    close_texts(&b); /* it comes from a process that went wrong */
    if (!b.plugin[0])
        return false;
    pthread_mutex_lock(&q->lock);
    s = place_for(q, &b);
    if (s->blame.digest != b.digest) /* it has been changed since: its past counts no more */
        memset(s, 0, sizeof *s);
    s->blame = b;
    s->at_ms[s->crashes++ % MG_QUARANTINE_CRASHES_MAX] = now_ms;
    if (q->rules.crashes > 0) {
        if (within(s, now_ms - q->rules.window_ms) >= q->rules.crashes)
            is_new = put_out(s, wall_us);
        is_new = whole_plugin(q, &b, now_ms, wall_us) || is_new;
    }
    pthread_mutex_unlock(&q->lock);
    return is_new;
}

static void forget(struct mg_quarantine *q, int i)
{
    q->n--;
    memmove(&q->all[i], &q->all[i + 1], (size_t)(q->n - i) * sizeof q->all[0]);
}

bool mg_quarantine_find(struct mg_quarantine *q, const struct mg_blame *who, struct mg_suspect *out, bool *released)
{
    bool found = false;

    *released = false;
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < q->n && !found; i++) {
        struct mg_suspect *s = &q->all[i];
        bool whole = !is_load(who) && is_whole(&s->blame) && strcmp(s->blame.plugin, who->plugin) == 0;

        if (!whole && !same(&s->blame, who))
            continue;
        if (s->blame.digest != (whole ? who->file : who->digest)) {
            *released = *released || s->is_out;
            *out = *s;
            forget(q, i--);
        } else if (s->is_out) {
            *out = *s;
            found = true;
        }
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

int mg_quarantine_release(struct mg_quarantine *q, const struct mg_blame *who)
{
    struct mg_blame b = *who;
    int n = 0;

    close_texts(&b);
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < q->n; i++) {
        const struct mg_suspect *s = &q->all[i];

        if (b.plugin[0] && strcmp(s->blame.plugin, b.plugin) != 0)
            continue;
        if (!is_whole(&b) && !same(&s->blame, &b))
            continue;
        n += s->is_out;
        forget(q, i--);
    }
    pthread_mutex_unlock(&q->lock);
    return n;
}

bool mg_quarantine_at(struct mg_quarantine *q, int i, struct mg_suspect *out)
{
    bool is_there;

    pthread_mutex_lock(&q->lock);
    is_there = i < q->n;
    if (is_there)
        *out = q->all[i];
    pthread_mutex_unlock(&q->lock);
    return is_there;
}

void mg_blame_text(const struct mg_blame *b, char *out, size_t room)
{
    snprintf(out, room, "plugin %s%s%s%s%s", b->plugin, b->phase[0] ? ", phase " : "", b->phase,
             is_whole(b) || is_load(b) ? "" : ", route ", is_whole(b) || is_load(b) ? "" : b->route[0] ? b->route : "(the global chain)");
}
