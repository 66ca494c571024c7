/* password.c - password hashes are slow on purpose, so they run on the thread pool, a few at a time.
 *
 * A job is a block of its own: when its exchange ends it is simply forgotten (mg_resume with a stale handle does nothing). At
 * most RUNNERS threads of the pool work for us; each takes jobs until there are none, whichever worker they came from. */
#include "pdk/call.h"
#include "exchange/outside.h"
#include "base/alloc.h"
#include "base/list.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <pthread.h>

enum { RUNNERS = 2, WAITING_MAX = 256, ENCODED_MAX = 1024, PASSWORD_MAX = 4096 };

struct job {
    struct mg_list node;
    struct mg_x *h;
    int op;
    size_t encoded_n, password_n;
    char bytes[];            /* both, NUL-terminated */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_list waiting = { &waiting, &waiting };
static int waiting_n, runners_n;

static int verify_argon2(const char *encoded, const char *password, size_t n)
{
    argon2_type type = !strncmp(encoded, "$argon2id$", 10) ? Argon2_id : !strncmp(encoded, "$argon2i$", 9) ? Argon2_i : Argon2_d;
    int rc = argon2_verify(encoded, password, n, type);

    return rc == ARGON2_OK ? 1 : rc == ARGON2_VERIFY_MISMATCH ? 0 : MG_EINVAL;
}

static int verify_crypt(const char *encoded, size_t encoded_n, const char *password, size_t n)
{
    struct crypt_data *data;
    const char *made;
    int rc = MG_EINVAL;

    if (memchr(password, 0, n))
        return 0; /* crypt would stop there and take the rest for granted */
    data = mg_calloc(1, sizeof *data);
    if (!data)
        return MG_ENOMEM;
    made = crypt_r(password, encoded, data);
    if (made && made[0] != '*')
        rc = mg_equal(made, strlen(made), encoded, encoded_n);
    OPENSSL_cleanse(data, sizeof *data);
    mg_free(data);
    return rc;
}

static int verify(const struct job *j)
{
    const char *encoded = j->bytes, *password = j->bytes + j->encoded_n + 1;
    static const char *const forms[] = { "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$" };

    if (memchr(encoded, 0, j->encoded_n))
        return MG_EINVAL;
    if (!strncmp(encoded, "$argon2", 7))
        return verify_argon2(encoded, password, j->password_n);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (!strncmp(encoded, forms[i], strlen(forms[i])))
            return verify_crypt(encoded, j->encoded_n, password, j->password_n);
    return MG_EINVAL;
}

static void job_free(struct job *j)
{
    OPENSSL_cleanse(j->bytes, j->encoded_n + j->password_n + 2);
    mg_free(j);
}

static struct job *job_take(void)
{
    struct mg_list *n;

    pthread_mutex_lock(&lock);
    n = mg_list_first(&waiting);
    if (n) {
        mg_list_remove(n);
        waiting_n--;
    } else {
        runners_n--; /* under the lock: who comes now starts another */
    }
    pthread_mutex_unlock(&lock);
    return n ? mg_container(n, struct job, node) : NULL;
}

static void run(uv_work_t *work)
{
    struct job *j;

    (void)work;
    while ((j = job_take())) {
        int status = verify(j);

        mg_resume(j->h, j->op, status);
        job_free(j);
    }
}

static void run_done(uv_work_t *work, int status)
{
    if (status) { /* the pool never ran it (its loop is closing): what waits is another runner's, or is told so */
        pthread_mutex_lock(&lock);
        runners_n--;
        pthread_mutex_unlock(&lock);
    }
    mg_free(work);
}

/* Queue it, and start a runner unless enough are at work. 0, MG_EBUSY, MG_ENOMEM. */
static int job_give(struct mg_exchange *x, struct job *j)
{
    bool start;
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (waiting_n >= WAITING_MAX) {
        pthread_mutex_unlock(&lock);
        return MG_EBUSY;
    }
    mg_list_push(&waiting, &j->node);
    waiting_n++;
    start = runners_n < RUNNERS;
    runners_n += start;
    pthread_mutex_unlock(&lock);
    if (start) {
        uv_work_t *work = mg_malloc(sizeof *work);

        if (!work || uv_queue_work(&x->worker->loop.uv, work, run, run_done)) {
            mg_free(work);
            rc = MG_ENOMEM;
        }
    }
    if (!rc)
        return 0;
    pthread_mutex_lock(&lock);
    runners_n--;
    if (runners_n > 0) {
        rc = 0; /* another runner will come to it */
    } else {
        mg_list_remove(&j->node);
        waiting_n--;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static const struct mg_op_kind password_kind = { .service = "password" };

int mg_password_verify(struct mg_x *h, const char *encoded, size_t encoded_n, const char *password, size_t password_n)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op;
    struct job *j;
    int rc;

    if (!x)
        return MG_EENDED;
    if (!x->in_step || !mg_may(x, MG_START_WAIT))
        return MG_EPHASE;
    if (!encoded_n || encoded_n > ENCODED_MAX || password_n > PASSWORD_MAX)
        return MG_EINVAL;
    j = mg_malloc(sizeof *j + encoded_n + password_n + 2);
    if (!j)
        return MG_ENOMEM;
    op = mg_op_start(x, NULL);
    if (!op) {
        mg_free(j);
        return MG_ENOMEM;
    }
    if (x->outside && mg_outside_takes(op, &password_kind, mg_str(password, password_n))) {
        mg_free(j);
        return op->id;
    }
    op->is_resumed = true;
    mg_list_init(&j->node);
    j->h = h;
    j->op = op->id;
    j->encoded_n = encoded_n;
    j->password_n = password_n;
    memcpy(j->bytes, encoded, encoded_n);
    j->bytes[encoded_n] = 0;
    if (password_n)
        memcpy(j->bytes + encoded_n + 1, password, password_n);
    j->bytes[encoded_n + 1 + password_n] = 0;
    rc = job_give(x, j);
    if (rc) {
        job_free(j);
        mg_op_end(op, rc); /* told by on_wake, like every outcome */
    }
    return op->id;
}
