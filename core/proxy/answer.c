/* answer.c - answers that do not come from an upstream: the gateway's own, and those that plugins record. */
#include "proxy/run.h"
#include "pdk/problem.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "plugin/recode.h"

#include <stdio.h>

enum { ANSWER_ROOM = 16384 };

/* An exchange that used up its memory is still answered. */
static void make_room(struct mg_exchange *x)
{
    if (x->arena.budget < x->arena.used + ANSWER_ROOM)
        x->arena.budget = x->arena.used + ANSWER_ROOM;
}

/* A response of our own takes the place of whatever there was. The client's unread body is the codec's matter. */
static struct mg_head *take_over(struct mg_exchange *x, int status, int source)
{
    struct mg_head *head = mg_arena_zalloc(&x->arena, sizeof *head);

    mg_up_release(x);
    mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
    if (x->state == MG_ST_RESPOND && x->is_waiting)
        x->step++; /* its on_response has had its turn: those below it see the new response */
    x->is_waiting = false;
    x->body[MG_REQUEST].waiting = false;
    if (x->body[MG_REQUEST].gather == MG_GATHER_ASKED)
        x->body[MG_REQUEST].gather = MG_GATHER_NO;
    x->body[MG_RESPONSE].feed = NULL;
    mg_body_renewed(&x->body[MG_RESPONSE]);
    if (mg_pull_of(&x->body[MG_REQUEST]))
        mg_pull_of(&x->body[MG_REQUEST])->is_over = true;
    x->body[MG_RESPONSE].got_end = false;
    x->body[MG_RESPONSE].gather = MG_GATHER_NO;
    x->body[MG_RESPONSE].replaced = false;
    x->body[MG_RESPONSE].resized = false;
    x->body[MG_RESPONSE].whole_out = false;
    x->body[MG_RESPONSE].waiting = false;
    x->body[MG_RESPONSE].trailers = NULL;
    x->answer_fed = false;
    x->state = MG_ST_RESPOND;
    x->source = (uint8_t)source;
    if (head) {
        head->status = status;
        head->reason = mg_reason(status);
        head->version = 11;
        head->framing = MG_BODY_LENGTH;
        x->res = head;
    }
    return head;
}

/* Not even room for an answer: the client's connection is closed. */
static void give_up(struct mg_exchange *x)
{
    x->failure = x->failure ? x->failure : "out_of_memory";
    mg_run_end(x);
}

/* A field of the answer just set. Without memory for it the answer goes without. */
static void set_field(struct mg_exchange *x, int id, struct mg_str value)
{
    struct mg_str copy = value.n ? mg_arena_copy(&x->arena, value.p, value.n) : mg_str(NULL, 0);

    if (copy.p && x->res)
        mg_headers_set_id(&x->res->headers, &x->arena, id, copy);
}

static void set_answer(struct mg_exchange *x, int status, struct mg_str type, struct mg_str body)
{
    struct mg_head *head = take_over(x, status, MG_SOURCE_GATEWAY);

    x->answer = body.n ? mg_arena_copy(&x->arena, body.p, body.n) : mg_str(NULL, 0);
    if (!head || (body.n && !x->answer.p)) {
        give_up(x);
        return;
    }
    head->length = (int64_t)body.n;
    set_field(x, MG_H_CONTENT_TYPE, type);
}

void mg_answer(struct mg_exchange *x, int status, struct mg_str type, struct mg_str body)
{
    mg_run_enter(x);
    set_answer(x, status, type, body);
    mg_run(x);
    mg_run_leave(x);
}

void mg_answer_not_allowed(struct mg_exchange *x, struct mg_str allow, struct mg_str text)
{
    mg_run_enter(x);
    set_answer(x, 405, MG_STR("text/plain; charset=utf-8"), text);
    set_field(x, MG_H_ALLOW, allow);
    mg_run(x);
    mg_run_leave(x);
}

void mg_answer_error(struct mg_exchange *x, int status, const char *failure, const char *detail)
{
    struct mg_str type, body;

    if (failure)
        x->failure = failure;
    make_room(x);
    if (mg_problem(x, status, mg_str_c(detail), &type, &body)) {
        give_up(x);
        return;
    }
    set_answer(x, status, type, body);
    if (failure && x->res && x->source == MG_SOURCE_GATEWAY)
        mg_headers_add(&x->res->headers, &x->arena, MG_STR("x-moongate-error"), mg_str_c(failure));
}

void mg_answer_recorded(struct mg_exchange *x)
{
    struct mg_head *recorded = x->answer_head;
    struct mg_feed *feed = x->answer_feed && x->answer_feed->head == recorded ? x->answer_feed : NULL;
    struct mg_str body = x->answer;

    x->answer_feed = NULL;
    if (!recorded) { /* the chain checks this before; an empty answer would be a lie */
        mg_answer_error(x, 500, "plugin_error", NULL);
        return;
    }
    if (!take_over(x, recorded->status, MG_SOURCE_PLUGIN)) {
        give_up(x);
        return;
    }
    x->res = recorded;
    x->res->version = 11;
    x->res->framing = MG_BODY_LENGTH;
    x->res->length = (int64_t)body.n;
    if (!x->res->reason.p)
        x->res->reason = mg_reason(recorded->status);
    x->answer = body;
    x->answer_head = NULL;
    if (feed) {
        x->body[MG_RESPONSE].feed = feed;
        x->body[MG_RESPONSE].replaced = true;
        x->body[MG_RESPONSE].drop_at = 0;
    }
}

void mg_answer_redirect(struct mg_exchange *x, int status, int port)
{
    struct mg_str to;
    char at[8] = "";

    if (!x->host.n) {
        mg_answer_error(x, 400, NULL, "A redirect needs a Host.");
        return;
    }
    if (port != 443)
        snprintf(at, sizeof at, ":%d", port);
    to = mg_arena_printf(&x->arena, "https://%.*s%s%.*s%s%.*s", (int)x->host.n, x->host.p, at, (int)x->path.n, x->path.p,
                         x->has_query ? "?" : "", (int)x->query.n, x->query.p);
    set_answer(x, status, mg_str(NULL, 0), mg_str(NULL, 0));
    if (to.p && x->res)
        mg_headers_set_id(&x->res->headers, &x->arena, MG_H_LOCATION, to);
}
