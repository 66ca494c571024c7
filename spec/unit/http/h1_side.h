/* h1_side.h - a codec with an owner that writes down what it is told, and answers when asked to. */
#ifndef SPEC_H1_SIDE_H
#define SPEC_H1_SIDE_H

#include "http/fake_stream.h"
#include <stdio.h>

struct side {
    struct fake f;
    struct mg_h1 h;
    struct mg_h1_limits limits;
    struct mg_arena arena;
    struct mg_leg *leg;
    char log[8192]; /* "begin;head GET / 11;data abc;end;" */
    size_t log_n;
    bool in_data, has_arena;
    bool answers;        /* server: 200 "ok" at the end of each request, the status of each refusal */
    bool answers_early;  /* at the head already */
    bool pauses;         /* at each piece of a body */
    bool pauses_at_head;
    bool refuses;        /* on_begin says no */
    bool releases;       /* client: release at the end or reset */
    int idles, dones, status, error;
    size_t body_n;
    int lasts;           /* pieces that were said to be the last */
};

static void side_note(struct side *s, const char *text, size_t n)
{
    size_t room = sizeof s->log - 1 - s->log_n;

    n = n < room ? n : room;
    memcpy(s->log + s->log_n, text, n);
    s->log_n += n;
    s->log[s->log_n] = 0;
}

static void side_say(struct side *s, const char *text)
{
    if (s->in_data)
        side_note(s, ";", 1);
    s->in_data = false;
    side_note(s, text, strlen(text));
}

static void side_arena(struct side *s)
{
    if (s->has_arena)
        mg_arena_deinit(&s->arena);
    mg_arena_init(&s->arena, NULL, 1 << 20);
    s->has_arena = true;
}

static void side_answer(struct mg_leg *leg, int status)
{
    struct mg_head head = { .status = status, .framing = MG_BODY_LENGTH, .length = 2 };

    leg->ops->send_head(leg, &head, MG_MORE);
    leg->ops->send_data(leg, MG_STR("ok"), MG_MORE);
    leg->ops->send_end(leg, NULL);
    leg->ops->release(leg);
}

static void side_on_head(struct mg_leg *leg, struct mg_head *head)
{
    struct side *s = leg->owner;
    char line[512];

    if (s->h.is_server)
        snprintf(line, sizeof line, "head %.*s %.*s %d f%d %lld%s%s;", (int)head->method_text.n, head->method_text.p, (int)head->target.n,
                 head->target.p, head->version, head->framing, (long long)head->length, head->closes ? " close" : "",
                 head->expects_continue ? " expect" : "");
    else
        snprintf(line, sizeof line, "head %d f%d %lld%s;", head->status, head->framing, (long long)head->length,
                 head->closes ? " close" : "");
    side_say(s, line);
    if (s->pauses_at_head)
        leg->ops->pause(leg);
    if (s->answers_early)
        side_answer(leg, 200);
}

static void side_on_interim(struct mg_leg *leg, struct mg_head *head)
{
    char line[64];

    snprintf(line, sizeof line, "interim %d;", head->status);
    side_say(leg->owner, line);
}

static void side_on_data(struct mg_leg *leg, struct mg_str bytes)
{
    struct side *s = leg->owner;

    if (!s->in_data)
        side_say(s, "data ");
    s->in_data = true;
    s->body_n += bytes.n;
    s->lasts += leg->at_end;
    side_note(s, bytes.p, bytes.n);
    if (s->pauses)
        leg->ops->pause(leg);
}

static void side_on_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    struct side *s = leg->owner;

    side_say(s, "end");
    for (uint32_t i = 0; trailers && i < trailers->n; i++)
        if (trailers->at[i].name) {
            side_note(s, " ", 1);
            side_note(s, trailers->at[i].name, trailers->at[i].name_n);
            side_note(s, "=", 1);
            side_note(s, trailers->at[i].value, trailers->at[i].value_n);
        }
    side_note(s, ";", 1);
    if (s->answers)
        side_answer(leg, 200);
    else if (s->releases)
        leg->ops->release(leg);
}

static void side_on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    struct side *s = leg->owner;
    char line[256];

    s->status = status;
    s->error = error;
    snprintf(line, sizeof line, "reset %d %s;", status, why ? why : "?");
    side_say(s, line);
    if (s->answers && status)
        side_answer(leg, status);
    else if (s->answers || s->releases)
        leg->ops->release(leg);
}

static void side_on_drain(struct mg_leg *leg) { side_say(leg->owner, "drain;"); }

static const struct mg_leg_events side_leg_events = {
    .on_head = side_on_head, .on_interim = side_on_interim, .on_data = side_on_data, .on_end = side_on_end,
    .on_reset = side_on_reset, .on_drain = side_on_drain,
};

static bool side_on_begin(struct mg_h1 *h, struct mg_leg *leg)
{
    struct side *s = h->owner;

    if (s->refuses)
        return false;
    side_arena(s);
    leg->owner = s;
    leg->events = &side_leg_events;
    leg->arena = &s->arena;
    s->leg = leg;
    side_say(s, "begin;");
    return true;
}

static void side_on_idle(struct mg_h1 *h) { ((struct side *)h->owner)->idles++; }
static void side_on_done(struct mg_h1 *h) { ((struct side *)h->owner)->dones++; }

static const struct mg_h1_events side_events = { .on_begin = side_on_begin, .on_idle = side_on_idle, .on_done = side_on_done };

static inline void side_init(struct side *s, bool is_server)
{
    memset(s, 0, sizeof *s);
    fake_init(&s->f);
    s->limits = (struct mg_h1_limits){ .head_bytes = 4096, .target_bytes = 1024, .headers_max = 20, .trailer_bytes = 256 };
    mg_h1_init(&s->h, &s->f.stream, is_server, &s->limits, &side_events, s);
}

/* Client: put an exchange on it and send a request. */
static inline void side_request(struct side *s, const char *method)
{
    struct mg_head head = { .method_text = mg_str_c(method), .target = MG_STR("/"), .authority = MG_STR("a"), .version = 11 };

    head.method = mg_method_of(head.method_text);
    side_arena(s);
    s->h.leg.owner = s;
    s->h.leg.events = &side_leg_events;
    s->h.leg.arena = &s->arena;
    mg_h1_start(&s->h, &s->leg);
    s->leg->ops->send_head(s->leg, &head, MG_MORE);
    s->leg->ops->send_end(s->leg, NULL);
}

static inline void side_deinit(struct side *s)
{
    mg_h1_deinit(&s->h);
    mg_h1_thread_deinit();
    if (s->has_arena)
        mg_arena_deinit(&s->arena);
    fake_deinit(&s->f);
}

static inline bool side_closes(const struct side *s)
{
    return s->dones > 0 || s->f.is_shut || s->f.is_aborted;
}

#endif
