/* work.c - blocking functions of plugins, on threads of their own.
 *
 * Four threads, started when they are first wanted, take the jobs of all workers in order. They are not libuv's, so that a function that hangs
 * holds up neither files nor the end of a worker. A job is a block of its own: input and output are in it or on the heap, never in an
 * exchange's arena, and it names its exchange by handle and number alone; when that has gone the result is freed. */
#include <moongate/plugin.h>
#include "pdk/call.h"
#include "base/alloc.h"
#include "exchange/outside.h"
#include "service/brought.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 4, WAITING_MAX = 256, STACK_BYTES = 512 * 1024 };

struct job {
    struct mg_brought brought;  /* once it has ended */
    struct mg_list node;        /* in `waiting` */
    struct mg_x *x;
    mg_work_fn *fn;
    int status;
    char *output;               /* malloc'ed by fn */
    size_t output_n, input_n;
    char input[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static struct mg_list waiting = { &waiting, &waiting };
static int waiting_n, threads_n, idle_n;
static const char kind_mark;

static void job_free(struct mg_brought *b)
{
    struct job *j = mg_container(b, struct job, brought);

    free(j->output);
    mg_free(j);
}

static struct job *job_new(struct mg_op *op, size_t input_n)
{
    struct job *j = mg_calloc(1, sizeof *j + input_n + 1);

    if (!j)
        return NULL;
    j->brought = (struct mg_brought){ .kind = &kind_mark, .op = op->id, .free = job_free };
    mg_list_init(&j->node);
    j->x = mg_handle_of(op->x);
    j->input_n = input_n;
    return j;
}

/* ---- the seam ---- */

static int save(struct mg_op *op, struct mg_str *answer)
{
    struct mg_brought *b = mg_brought_find(op->x, &kind_mark, op->id);
    const struct job *j = b ? mg_container(b, struct job, brought) : NULL;

    *answer = j ? mg_str(j->output, j->output_n) : mg_str(NULL, 0);
    return 0;
}

static int load(struct mg_op *op, int status, struct mg_str answer)
{
    struct job *j = job_new(op, 0);

    if (j && answer.n && !(j->output = malloc(answer.n))) {
        mg_free(j);
        j = NULL;
    }
    if (!j)
        return MG_ENOMEM;
    if (answer.n)
        memcpy(j->output, answer.p, answer.n);
    j->output_n = answer.n;
    return mg_brought_keep(op->x, &j->brought) ? MG_ENOMEM : status;
}

static const struct mg_op_kind work_kind = { .service = "work", .save = save, .load = load };

/* ---- the threads ---- */

static void arrive(struct mg_worker *w, void *arg)
{
    struct job *j = arg;
    struct mg_exchange *x = mg_handle(j->x);
    struct mg_op *op = x ? mg_op_find(x, j->brought.op) : NULL;
    int status = j->status;

    (void)w;
    if (!op || op->has_ended) {
        job_free(&j->brought);
        return;
    }
    if (mg_brought_keep(x, &j->brought))
        status = MG_ENOMEM;
    mg_op_end(op, status);
}

static void send_back(struct job *j)
{
    struct timespec pause = { .tv_nsec = 1000000 };
    int rc;

    while ((rc = mg_worker_post_index(mg_handle_worker((uint64_t)(uintptr_t)j->x), arrive, j)) == UV_ENOMEM)
        nanosleep(&pause, NULL);
    if (rc)
        job_free(&j->brought); /* the worker has ended */
}

static struct job *take(void)
{
    struct mg_list *n;

    pthread_mutex_lock(&lock);
    idle_n++;
    while (!(n = mg_list_first(&waiting)))
        pthread_cond_wait(&wanted, &lock);
    idle_n--;
    mg_list_remove(n);
    waiting_n--;
    pthread_mutex_unlock(&lock);
    return mg_container(n, struct job, node);
}

static void *run(void *arg)
{
    (void)arg;
    for (;;) {
        struct job *j = take();

        j->status = j->fn(j->input, j->input_n, &j->output, &j->output_n);
        if (!j->output)
            j->output_n = 0;
        send_back(j);
    }
    return NULL;
}

/* Under the lock. It inherits the worker's signal mask. */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t id;
    int rc;

    if (pthread_attr_init(&attr))
        return MG_ENOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    rc = pthread_create(&id, &attr, run, NULL);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        threads_n++;
    return rc ? MG_EBUSY : 0;
}

static int give(struct job *j)
{
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (waiting_n >= WAITING_MAX)
        rc = MG_EBUSY;
    else if (idle_n <= waiting_n && threads_n < THREADS)
        rc = start_thread();
    if (rc && waiting_n < WAITING_MAX && threads_n > 0)
        rc = 0; /* no new thread: one that is there comes to it */
    if (!rc) {
        mg_list_push(&waiting, &j->node);
        waiting_n++;
        pthread_cond_signal(&wanted);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* One that has not begun is taken back; one that runs comes to an end, for nobody. */
static void cancel(struct mg_op *op)
{
    struct job *mine = NULL;

    pthread_mutex_lock(&lock);
    mg_list_each(n, &waiting)
    {
        struct job *j = mg_container(n, struct job, node);

        if (j->x == mg_handle_of(op->x) && j->brought.op == op->id)
            mine = j;
    }
    if (mine) {
        mg_list_remove(&mine->node);
        waiting_n--;
    }
    pthread_mutex_unlock(&lock);
    if (mine)
        job_free(&mine->brought);
}

/* ---- the calls ---- */

int mg_work(struct mg_x *h, mg_work_fn *fn, const char *input, size_t input_n)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op;
    struct job *j;
    int rc;

    if (!x)
        return MG_EENDED;
    if (!x->in_step || !mg_may(x, MG_START_WAIT))
        return MG_EPHASE;
    if (!fn)
        return MG_EINVAL;
    op = mg_op_start(x, cancel);
    if (!op)
        return MG_ENOMEM;
    if (x->outside && mg_outside_takes(op, &work_kind, mg_str(input, input_n)))
        return op->id;
    op->kind = &work_kind;
    j = job_new(op, input_n);
    if (j) {
        j->fn = fn;
        if (input_n)
            memcpy(j->input, input, input_n);
    }
    rc = j ? give(j) : MG_ENOMEM;
    if (rc) {
        if (j)
            job_free(&j->brought);
        mg_op_end(op, rc); /* told by on_wake, like every outcome */
    }
    return op->id;
}

int mg_work_output(struct mg_x *h, int op, struct mg_str *out)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_brought *b = x ? mg_brought_find(x, &kind_mark, op) : NULL;
    const struct job *j = b ? mg_container(b, struct job, brought) : NULL;

    *out = j ? mg_str(j->output, j->output_n) : mg_str(NULL, 0);
    return !x ? MG_EENDED : j ? 0 : MG_ENOENT;
}

int mg_work_free(struct mg_x *h, int op)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_brought *b = x ? mg_brought_find(x, &kind_mark, op) : NULL;

    if (b)
        mg_brought_drop(x, b);
    return !x ? MG_EENDED : b ? 0 : MG_ENOENT;
}
