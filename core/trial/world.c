/* The world around simulated exchanges: time that passes when nothing else can happen, and a function of the spec that answers
 * what is asked of servers outside.
 *
 * Real work (the thread pool) takes no simulated time: it is waited for before the clock moves. */
#include "trial/sim.h"
#include "proxy/run.h"
#include "plugin/task.h"
#include "base/clock.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

enum { PATIENCE_MS = 10000, TURNS_MAX = 100000, TASKS_MS = 60000 };

struct asked {
    struct mg_list node;
    struct mg_trial *trial;
    uint64_t handle;                 /* the exchange may end before the answer comes */
    int op;
    const char *service;             /* a constant of the service */
    char *text;                      /* the question, then the answer */
    size_t n;
    int status;
    struct mg_timer timer;           /* until the answer is there */
};

/* ---- questions --------------------------------------------------------------------------------- */

static void drop(struct asked *a)
{
    mg_loop_disarm(&a->trial->worker.loop, &a->timer);
    mg_list_remove(&a->node);
    free(a->text);
    free(a);
}

static bool begins(const char *service, const char *name)
{
    size_t n = strlen(name);

    return strncmp(service, name, n) == 0 && (service[n] == '\0' || service[n] == '.');
}

/* Other servers are simulated; what lives in this process is the real thing. */
static bool is_outside(const char *service)
{
    return begins(service, "http") || begins(service, "redis") || begins(service, "dns");
}

static struct mg_op *op_of(const struct asked *a)
{
    struct mg_exchange *x = mg_handle_slow(a->handle);
    struct mg_op *op = x ? mg_op_find(x, a->op) : NULL;

    return op && op->is_simulated && !op->has_ended ? op : NULL;
}

static void deliver(struct asked *a)
{
    struct mg_op *op = op_of(a);

    if (op)
        mg_outside_end(op, a->status, mg_str(a->text, a->n));
    drop(a);
}

static void answer_due(struct mg_timer *timer)
{
    deliver(mg_container(timer, struct asked, timer));
}

/* By the tape. false: the real thing is asked (it lives in this process, and nobody recorded it). */
static bool play(struct mg_trial *t, struct mg_exchange *x, struct mg_op *op, const char *service, struct mg_str question, int64_t *status,
                 struct mg_str *answer)
{
    int64_t after_ms = 0;
    bool found = mg_tape_answer(t->tape, service, question, status, answer, &after_ms);
    struct asked *a;

    if (!op)
        return found && after_ms != TAPE_NEVER;
    if (!found && !is_outside(service))
        return false;
    if (after_ms == TAPE_NEVER)
        return true;
    a = calloc(1, sizeof(*a));
    if (!a)
        return true; /* nothing comes */
    a->text = malloc(answer->n + 1);
    if (a->text && answer->n)
        memcpy(a->text, answer->p, answer->n);
    a->n = a->text ? answer->n : 0;
    a->status = found ? (int)*status : MG_ECLOSED;
    a->trial = t;
    a->handle = x->handle;
    a->op = op->id;
    a->service = service;
    mg_timer_init(&a->timer, answer_due);
    mg_list_push(&t->answered, &a->node);
    mg_loop_arm(&t->worker.loop, &a->timer, after_ms);
    return true;
}

static bool ask(struct mg_outside *o, struct mg_exchange *x, struct mg_op *op, const char *service, struct mg_str question,
                int64_t *status, struct mg_str *answer)
{
    struct mg_trial *t = mg_container(o, struct mg_trial, world);
    struct asked *a;

    if (t->tape)
        return play(t, x, op, service, question, status, answer);
    if (!op || !is_outside(service))
        return false;
    a = calloc(1, sizeof(*a));
    if (!a || !(a->text = malloc(question.n + 1))) {
        free(a);
        return true; /* the spec hears that nothing comes */
    }
    if (question.n)
        memcpy(a->text, question.p, question.n);
    a->n = question.n;
    a->trial = t;
    a->handle = x->handle;
    a->op = op->id;
    a->service = service;
    mg_timer_init(&a->timer, NULL);
    mg_list_push(&t->asked, &a->node);
    return true;
}

static void told(struct mg_outside *o, struct mg_exchange *x, int op, const char *service, int64_t status, struct mg_str answer)
{
    (void)o, (void)x, (void)op, (void)service, (void)status, (void)answer;
}

/* The spec's function says status, answer and how long it takes. Raises what it raises. */
static void put_question(struct asked *a)
{
    struct mg_trial *t = a->trial;
    lua_State *L = t->vm->L;
    const char *p;
    char *copy;
    size_t n;
    double delay_ms;

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->answer);
    lua_pushstring(L, a->service);
    lua_pushlstring(L, a->text, a->n);
    mg_list_remove(&a->node);
    mg_list_push(&t->answered, &a->node); /* not asked again when the function raises */
    lua_call(L, 2, 3);
    a->status = (int)luaL_checkinteger(L, -3);
    p = luaL_checklstring(L, -2, &n);
    delay_ms = luaL_optnumber(L, -1, 0);
    copy = malloc(n + 1);
    if (!copy)
        luaL_error(L, "out of memory");
    memcpy(copy, p, n);
    free(a->text);
    a->text = copy;
    a->n = n;
    lua_pop(L, 3);
    if (delay_ms > 0) {
        a->timer.fire = answer_due;
        mg_loop_arm(&t->worker.loop, &a->timer, (int64_t)delay_ms);
    } else {
        deliver(a);
    }
}

static bool answer_one(struct mg_trial *t)
{
    struct asked *a;

    if (mg_list_empty(&t->asked))
        return false;
    a = mg_container(mg_list_first(&t->asked), struct asked, node);
    if (t->answer == LUA_NOREF) { /* a config's on_worker asks, and no spec is there to answer */
        a->status = MG_ECLOSED;
        a->n = 0;
        deliver(a);
    } else if (op_of(a)) {
        put_question(a);
    } else {
        drop(a);
    }
    return true;
}

static void woken(struct mg_exchange *x)
{
    struct mg_trial *t = mg_container(x->worker, struct mg_trial, worker);

    for (struct mg_sim *sim = t->running; sim; sim = sim->outer)
        if (sim->x == x)
            sim->woken = true;
}

int mg_world_open(struct mg_trial *t)
{
    mg_exchange_woken = woken;
    mg_list_init(&t->asked);
    mg_list_init(&t->answered);
    t->answer = LUA_NOREF;
    t->world = (struct mg_outside){ .ask = ask, .told = told };
    t->worker.outside = &t->world;
    return 0;
}

void mg_world_close(struct mg_trial *t)
{
    while (!mg_list_empty(&t->asked))
        drop(mg_container(mg_list_first(&t->asked), struct asked, node));
    while (!mg_list_empty(&t->answered))
        drop(mg_container(mg_list_first(&t->answered), struct asked, node));
    t->worker.outside = NULL;
}

/* ---- time -------------------------------------------------------------------------------------- */

void mg_trial_set_wall(struct mg_trial *t, int64_t wall_us)
{
    t->wall_us = wall_us;
    mg_clock_set(t->monotonic_us, t->wall_us);
}

static void tick(struct mg_trial *t, int64_t us)
{
    int64_t ms = (t->monotonic_us + us) / 1000 - t->monotonic_us / 1000;

    t->monotonic_us += us;
    t->wall_us += us;
    t->worker.loop.ahead_ms += ms;
    mg_loop_time_passed(&t->worker.loop);
    mg_clock_set(t->monotonic_us, t->wall_us);
    mg_wheel_advance(&t->worker.loop.wheel, mg_loop_now_ms(&t->worker.loop));
}

static void too_long(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static bool has_real_work(const struct mg_trial *t)
{
    return t->worker.loop.uv.active_reqs.count > 0;
}

/* Until something of this exchange or of another has ended. for_work: work is under way on the thread pool; else somebody else
 * may end an operation. false: nothing came in time. */
static bool wait_really(struct mg_trial *t, bool for_work)
{
    uv_timer_t patience;
    bool late = false;

    patience.data = &late;
    uv_timer_init(&t->worker.loop.uv, &patience);
    uv_timer_start(&patience, too_long, PATIENCE_MS, 0);
    do
        uv_run(&t->worker.loop.uv, UV_RUN_ONCE);
    while (!late && mg_list_empty(&t->worker.woken) && t->worker.loop.wheel.armed == 0 && (!t->running || !t->running->woken) &&
           (!for_work || has_real_work(t)));
    uv_timer_stop(&patience);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(&t->worker.loop.uv, UV_RUN_NOWAIT);
    return !late;
}

/* What can happen now, without time passing. */
static bool turn(struct mg_trial *t)
{
    if (!mg_list_empty(&t->worker.woken)) {
        mg_ops_deliver(&t->worker);
        return true;
    }
    if (answer_one(t))
        return true;
    return has_real_work(t) && wait_really(t, true);
}

/* The next thing that is due, by then. false: nothing is. */
static bool pass_time(struct mg_trial *t, int64_t until_us)
{
    int64_t next_ms = mg_wheel_next_ms(&t->worker.loop.wheel, mg_loop_now_ms(&t->worker.loop));
    int64_t left = until_us ? until_us - t->monotonic_us : INT64_MAX;
    int64_t step;

    if (next_ms < 0)
        return false;
    step = (next_ms > 0 ? next_ms : MG_TICK_MS) * 1000;
    tick(t, step < left ? step : left > 0 ? left : 0);
    return true;
}

void mg_trial_advance(struct mg_trial *t, int64_t ms)
{
    int64_t until = t->monotonic_us + ms * 1000;
    int turns = 0;

    for (;;) {
        if (turns++ < TURNS_MAX && turn(t))
            continue;
        if (t->monotonic_us >= until)
            return;
        turns = 0;
        if (!pass_time(t, until))
            tick(t, until - t->monotonic_us);
    }
}

/* ---- one exchange -------------------------------------------------------------------------------- */

static bool is_over(struct mg_sim *sim)
{
    int64_t now = sim->trial->monotonic_us;

    if (sim->leaves_at_us && now >= sim->leaves_at_us)
        sim->left = true;
    else if (sim->late_at_us && now >= sim->late_at_us)
        sim->late = "exchange_timeout";
    else if (sim->plugin_late_at_us && now >= sim->plugin_late_at_us && mg_run_waits_for_body(sim->x))
        sim->plugin_late_at_us = now + sim->x->timeouts.plugin * 1000;
    else if (sim->plugin_late_at_us && now >= sim->plugin_late_at_us)
        sim->late = "plugin_timeout";
    return sim->left || sim->late;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static int64_t deadline(const struct mg_sim *sim)
{
    return earlier(earlier(sim->leaves_at_us, sim->late_at_us), sim->plugin_late_at_us);
}

enum mg_pumped mg_sim_pump(struct mg_sim *sim)
{
    struct mg_trial *t = sim->trial;
    int turns = 0;

    for (;;) {
        int64_t until = earlier(deadline(sim), sim->piece_at_us);

        if (sim->woken) {
            sim->woken = false;
            return PUMP_WOKEN;
        }
        if (is_over(sim))
            return PUMP_OVER;
        if (turns++ < TURNS_MAX && turn(t))
            continue;
        if (sim->piece_at_us && sim->trial->monotonic_us >= sim->piece_at_us)
            return PUMP_WOKEN;
        turns = 0;
        if (mg_list_empty(&sim->x->ops) && !until)
            return PUMP_NEVER;
        if (pass_time(t, until))
            continue;
        /* Nothing simulated is due: another thread may end what is waited for. */
        if (!mg_list_empty(&sim->x->ops) && !sim->leaves_at_us && !sim->piece_at_us && wait_really(t, false))
            continue;
        if (!until)
            return PUMP_NEVER;
        tick(t, until - t->monotonic_us);
    }
}

bool mg_sim_elapse(struct mg_sim *sim, int64_t ms)
{
    struct mg_trial *t = sim->trial;
    int64_t until = t->monotonic_us + ms * 1000;
    int turns = 0;

    for (;;) {
        int64_t first = earlier(until, deadline(sim));

        if (is_over(sim))
            return false;
        if (turns++ < TURNS_MAX && turn(t))
            continue;
        if (t->monotonic_us >= until)
            return true;
        turns = 0;
        if (!pass_time(t, first))
            tick(t, first - t->monotonic_us);
    }
}

static bool has_tasks(const struct mg_sim *sim)
{
    mg_list_each(n, &sim->trial->worker.tasks)
        if (mg_container(n, struct mg_task, node)->entry->snapshot == &sim->snapshot)
            return true;
    return false;
}

void mg_sim_finish_tasks(struct mg_sim *sim, int64_t ms)
{
    struct mg_trial *t = sim->trial;
    int64_t until = t->monotonic_us + TASKS_MS * 1000;
    int turns = 0;

    if (ms >= 0) {
        mg_trial_advance(t, ms);
        return;
    }
    while (has_tasks(sim) && t->monotonic_us < until) {
        if (turns++ < TURNS_MAX && turn(t))
            continue;
        turns = 0;
        if (!pass_time(t, until) && !wait_really(t, false))
            return;
    }
}
