#include "service/flights.h"

#include <pthread.h>
#include <stdatomic.h>
#include "base/alloc.h"
#include "base/log.h"

enum { PARTS = 16, VERSIONS = 4096 };

struct flight {
    struct mg_list node;
    struct mg_shared *d;
    uint64_t hash;
    uint64_t owner;              /* its handle */
    uint32_t version;            /* of the key when it began */
    struct mg_list waiters;
    size_t key_n;
    char key[];
};
struct waiter {
    struct mg_list node;         /* in the flight's, under its lock; alone: a message is under way */
    struct mg_x *x;
    int worker, op;
    uint64_t hash;
    struct mg_flight_result *result; /* NULL: it is the owner now */
    struct mg_shared *d;
    size_t key_n;
    char key[];
};
/* What an owner's exchange keeps of its flight: when it ends the flight goes on without it. A task may own many, one after the
 * other, so they take nothing from its arena. */
struct claim {
    struct mg_brought brought;
    struct mg_shared *d;         /* NULL: nothing is claimed yet */
    uint64_t hash, owner;
    size_t key_n;
    char key[];
};

struct part { pthread_mutex_t lock; struct mg_list flights; };
static struct part parts[PARTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t versions[VERSIONS], epoch;

const char mg_flight_kind;
static const char claim_kind;

static void prepare(void)
{
    for (int i = 0; i < PARTS; i++) {
        pthread_mutex_init(&parts[i].lock, NULL);
        mg_list_init(&parts[i].flights);
    }
}

static uint64_t hash_of(const struct mg_shared *d, struct mg_str key)
{
    return mg_str_hash(key) ^ (uint64_t)(uintptr_t)d >> 6;
}

static struct part *part_lock(uint64_t hash)
{
    struct part *p = &parts[hash % PARTS];

    pthread_once(&once, prepare);
    pthread_mutex_lock(&p->lock);
    return p;
}

static struct flight *find(struct part *p, const struct mg_shared *d, uint64_t hash, struct mg_str key)
{
    mg_list_each(n, &p->flights)
    {
        struct flight *f = mg_container(n, struct flight, node);

        if (f->hash == hash && f->d == d && mg_str_eq(mg_str(f->key, f->key_n), key))
            return f;
    }
    return NULL;
}

/* ---- versions ---- */

uint32_t mg_flight_version(const struct mg_shared *d, struct mg_str key)
{
    return atomic_load(&versions[hash_of(d, key) / PARTS % VERSIONS]) + atomic_load(&epoch);
}

void mg_flight_changed(const struct mg_shared *d, struct mg_str key)
{
    atomic_fetch_add(&versions[hash_of(d, key) / PARTS % VERSIONS], 1);
}

void mg_flight_all_changed(void)
{
    atomic_fetch_add(&epoch, 1);
}

/* ---- results ---- */

static void result_free(struct mg_brought *b)
{
    mg_free(mg_container(b, struct mg_flight_result, brought));
}

struct mg_flight_result *mg_flight_result_new(int op, int state, struct mg_str value, int64_t left_ms)
{
    struct mg_flight_result *r = mg_malloc(sizeof *r + value.n);

    if (!r)
        return NULL;
    r->brought = (struct mg_brought){ .kind = &mg_flight_kind, .op = op, .free = result_free };
    r->state = state;
    r->left_ms = left_ms;
    if (value.n)
        memcpy(r->bytes, value.p, value.n);
    r->value = mg_str(r->bytes, value.n);
    return r;
}

/* ---- messages ---- */

static void release(struct mg_shared *d, uint64_t hash, struct mg_str key, uint64_t owner);
static bool claim(struct mg_exchange *x, struct mg_shared *d, uint64_t hash, struct mg_str key);

static void waiter_free(struct waiter *w)
{
    mg_free(w->result);
    mg_free(w);
}

/* On the waiter's worker. The result is taken only where somebody still waits; a flight that came to nobody goes on. */
static void arrive(struct mg_worker *worker, void *arg)
{
    struct waiter *w = arg;
    struct mg_exchange *x = mg_handle(w->x);
    struct mg_op *op = x ? mg_op_find(x, w->op) : NULL;
    struct mg_str key = mg_str(w->key, w->key_n);
    bool owns = !w->result;
    int status = 0;

    (void)worker;
    if (op && op->has_ended)
        op = NULL;
    if (op && owns && !claim(x, w->d, w->hash, key))
        status = MG_ENOMEM;
    if (owns && (!op || status))
        release(w->d, w->hash, key, (uint64_t)(uintptr_t)w->x);
    if (op) {
        if (owns && !status)
            w->result = mg_flight_result_new(w->op, MG_CACHE_COMPUTE, mg_str(NULL, 0), 0);
        if (!w->result || mg_brought_keep(x, &w->result->brought) != 0)
            status = MG_ENOMEM;
        w->result = NULL;
        mg_op_end(op, status);
    }
    waiter_free(w);
}

/* false: its worker has ended, or there is no memory for a message. */
static bool send_to(struct waiter *w)
{
    return mg_worker_post_index(w->worker, arrive, w) == 0;
}

/* The owner has gone: to the next that waits. */
static void release(struct mg_shared *d, uint64_t hash, struct mg_str key, uint64_t owner)
{
    struct part *p = part_lock(hash);
    struct flight *f = find(p, d, hash, key);

    if (!f || f->owner != owner) {
        pthread_mutex_unlock(&p->lock);
        return;
    }
    while (!mg_list_empty(&f->waiters)) {
        struct waiter *w = mg_container(mg_list_first(&f->waiters), struct waiter, node);

        mg_list_remove(&w->node);
        f->owner = (uint64_t)(uintptr_t)w->x;
        if (send_to(w)) {
            pthread_mutex_unlock(&p->lock);
            return;
        }
        waiter_free(w);
    }
    mg_list_remove(&f->node);
    pthread_mutex_unlock(&p->lock);
    mg_free(f);
}

static void claim_free(struct mg_brought *b)
{
    struct claim *c = mg_container(b, struct claim, brought);

    if (c->d)
        release(c->d, c->hash, mg_str(c->key, c->key_n), c->owner);
    mg_free(c);
}

static bool claim(struct mg_exchange *x, struct mg_shared *d, uint64_t hash, struct mg_str key)
{
    struct claim *c = mg_calloc(1, sizeof *c + key.n);

    if (!c)
        return false;
    c->brought = (struct mg_brought){ .kind = &claim_kind, .free = claim_free };
    c->hash = hash;
    c->owner = x->handle;
    c->key_n = key.n;
    memcpy(c->key, key.p, key.n);
    if (mg_brought_keep(x, &c->brought) != 0)
        return false;
    c->d = d; /* from here on its end is the flight's */
    return true;
}

/* Its flight has landed. */
static void claim_drop(struct mg_exchange *x, const struct mg_shared *d, uint64_t hash, struct mg_str key)
{
    for (struct mg_brought *b = x->brought; b; b = b->next) {
        struct claim *c = mg_container(b, struct claim, brought);

        if (b->kind == &claim_kind && c->hash == hash && c->d == d && mg_str_eq(mg_str(c->key, c->key_n), key)) {
            mg_brought_drop(x, b);
            return;
        }
    }
}

/* ---- boarding ---- */

static void wait_cancel(struct mg_op *op)
{
    struct waiter *w = op->arg;
    struct part *p = part_lock(w->hash);
    bool is_mine = !mg_list_empty(&w->node);

    mg_list_remove(&w->node);
    pthread_mutex_unlock(&p->lock);
    if (is_mine)
        waiter_free(w); /* else its message frees it */
}

static struct waiter *waiter_new(struct mg_exchange *x, struct mg_shared *d, uint64_t hash, struct mg_str key)
{
    struct waiter *w = mg_calloc(1, sizeof *w + key.n);

    if (!w)
        return NULL;
    mg_list_init(&w->node);
    w->x = mg_handle_of(x);
    w->worker = x->worker->index;
    w->hash = hash;
    w->d = d;
    w->key_n = key.n;
    memcpy(w->key, key.p, key.n);
    return w;
}

static enum mg_flight_role join(struct mg_exchange *x, struct flight *f, struct mg_str key, struct mg_op **op)
{
    struct waiter *w = waiter_new(x, f->d, f->hash, key);

    *op = w ? mg_op_start(x, wait_cancel) : NULL;
    if (!*op) {
        mg_free(w);
        return MG_FLIGHT_NO_MEMORY;
    }
    (*op)->arg = w;
    w->op = (*op)->id;
    mg_list_push(&f->waiters, &w->node);
    return MG_FLIGHT_WAITER;
}

static enum mg_flight_role begin(struct mg_exchange *x, struct part *p, struct mg_shared *d, uint64_t hash, struct mg_str key)
{
    struct flight *f = mg_calloc(1, sizeof *f + key.n);

    if (!f || !claim(x, d, hash, key)) {
        mg_free(f);
        return MG_FLIGHT_NO_MEMORY;
    }
    mg_list_init(&f->waiters);
    f->d = d;
    f->hash = hash;
    f->owner = x->handle;
    f->version = mg_flight_version(d, key);
    f->key_n = key.n;
    memcpy(f->key, key.p, key.n);
    mg_list_push(&p->flights, &f->node);
    return MG_FLIGHT_OWNER;
}

enum mg_flight_role mg_flight_board(struct mg_exchange *x, struct mg_shared *d, struct mg_str key, bool (*landed)(void *arg), void *arg,
                                    struct mg_op **op)
{
    uint64_t hash = hash_of(d, key);
    struct part *p = part_lock(hash);
    struct flight *f = find(p, d, hash, key);
    enum mg_flight_role role;

    if (f && f->owner == x->handle)
        role = MG_FLIGHT_OWNER; /* it asks again what it was told to compute */
    else if (f)
        role = join(x, f, key, op);
    else
        role = landed(arg) ? MG_FLIGHT_LANDED : begin(x, p, d, hash, key);
    pthread_mutex_unlock(&p->lock);
    return role;
}

/* ---- landing ---- */

bool mg_flight_land(struct mg_exchange *x, struct mg_shared *d, struct mg_str key, int state, struct mg_str value, int64_t left_ms,
                    void (*keep)(void *arg, bool is_current), void *arg)
{
    uint64_t hash = hash_of(d, key);
    struct part *p = part_lock(hash);
    struct flight *f = find(p, d, hash, key);

    if (!f || f->owner != x->handle) {
        pthread_mutex_unlock(&p->lock);
        return false;
    }
    keep(arg, f->version == mg_flight_version(d, key));
    mg_list_remove(&f->node);
    while (!mg_list_empty(&f->waiters)) {
        struct waiter *w = mg_container(mg_list_first(&f->waiters), struct waiter, node);

        mg_list_remove(&w->node);
        w->result = mg_flight_result_new(w->op, state, value, left_ms);
        if (!w->result)
            w->result = mg_flight_result_new(w->op, MG_CACHE_FAILED, MG_STR(""), 0);
        if (!w->result || !send_to(w)) {
            mg_logf(MG_LOG_ERROR, "cache: no memory to wake one that waits");
            waiter_free(w);
        }
    }
    pthread_mutex_unlock(&p->lock);
    mg_free(f);
    claim_drop(x, d, hash, key);
    return true;
}
