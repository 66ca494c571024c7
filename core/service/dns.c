#include "service/dns.h"
#include "base/alloc.h"
#include "base/map.h"
#include "exchange/outside.h"
#include "service/brought.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

enum { NAMES_MAX = 4096, WAITING_MAX = 4096, NAME_BYTES = 253, ADDRESS_BYTES = 48, NONE_MS = 5000, FAILED_MS = 1000, TTL_MAX_S = 3600 };

/* Goes to the control thread and comes back. */
struct mg_dns_question {
    struct mg_brought brought;
    struct mg_list node;            /* in a name's `waiting` */
    struct mg_x *x;                 /* NULL: of a lookup */
    struct mg_dns_lookup *lookup;   /* the worker's; NULL: cancelled, or of an exchange */
    struct mg_address *addrs;       /* the answer for a lookup */
    size_t addrs_n;
    int worker;                     /* who asks */
    int type, status;
    char *text;                     /* the answer for an exchange */
    size_t text_n, key_n;
    char key[];                     /* the name; of records with the type before it */
};

/* A name as the control thread knows it. */
struct name {
    struct mg_list node;            /* in dns->names: least recently asked for first */
    struct mg_dns *dns;
    struct mg_list waiting;
    bool is_asking;
    int status;
    int64_t until_ms;
    struct mg_address *addrs;
    size_t n;
    int type;                       /* 0: addresses; else an mg_record_type */
    struct mg_str text;             /* of records */
    struct mg_str key, host;        /* "host", or "TYPE host": no host has a blank */
    char bytes[];
};

struct mg_dns {
    struct mg_worker *worker;
    struct mg_resolver *resolver;
    struct mg_resolver_conf conf;   /* its text is ours */
    struct mg_map by_key;
    struct mg_list names;
    int names_n, waiting_n;
};

static const char kind_mark;

static void question_free(struct mg_brought *b)
{
    struct mg_dns_question *q = mg_container(b, struct mg_dns_question, brought);

    mg_free(q->text);
    mg_free(q->addrs);
    mg_free(q);
}

static struct mg_dns_question *question_new(int worker, struct mg_str name, int type)
{
    struct mg_dns_question *q = mg_calloc(1, sizeof *q + name.n + 16);
    int at;

    if (!q)
        return NULL;
    mg_list_init(&q->node);
    q->worker = worker;
    q->type = type;
    at = mg_is_record_type(type) ? snprintf(q->key, 16, "%d ", type) : 0;
    q->key_n = (size_t)at + name.n;
    for (size_t i = 0; i < name.n; i++) /* names know no case */
        q->key[(size_t)at + i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
    return q;
}

static struct mg_dns_question *question_of(struct mg_op *op, struct mg_str name, int type)
{
    struct mg_dns_question *q = question_new(op->x->worker->index, name, type);

    if (!q)
        return NULL;
    q->brought = (struct mg_brought){ .kind = &kind_mark, .op = op->id, .free = question_free };
    q->x = mg_handle_of(op->x);
    return q;
}

/* ---- the way back ---- */

static void arrive_there(struct mg_dns_question *q)
{
    struct mg_dns_lookup *l = q->lookup;

    if (l) {
        l->question = NULL;
        l->done(l, q->status, q->addrs, q->addrs_n);
    }
    question_free(&q->brought);
}

static void arrive(struct mg_worker *w, void *arg)
{
    struct mg_dns_question *q = arg;
    struct mg_exchange *x = q->x ? mg_handle(q->x) : NULL;
    struct mg_op *op = x ? mg_op_find(x, q->brought.op) : NULL;
    int status = q->status;

    (void)w;
    if (!q->x) {
        arrive_there(q);
        return;
    }
    if (!op || op->has_ended) {
        question_free(&q->brought);
        return;
    }
    if (mg_brought_keep(x, &q->brought))
        status = MG_ENOMEM;
    mg_op_end(op, status);
}

static void send_back(struct mg_dns_question *q, int status)
{
    struct timespec pause = { .tv_nsec = 1000000 };
    int rc;

    q->status = status;
    while ((rc = mg_worker_post_index(q->worker, arrive, q)) == UV_ENOMEM)
        nanosleep(&pause, NULL);
    if (rc)
        question_free(&q->brought);
}

static bool is_of_type(const struct mg_address *a, int type)
{
    return !type || type == (a->sa.ss_family == AF_INET6 ? 6 : 4);
}

static int copy_text(struct mg_dns_question *q, const struct name *k)
{
    q->text = mg_malloc(k->text.n);
    if (!q->text)
        return MG_ENOMEM;
    memcpy(q->text, k->text.p, k->text.n);
    q->text_n = k->text.n;
    return 0;
}

static int copy_addresses(struct mg_dns_question *q, const struct name *k)
{
    q->addrs = mg_malloc(k->n * sizeof *k->addrs);
    if (!q->addrs)
        return MG_ENOMEM;
    memcpy(q->addrs, k->addrs, k->n * sizeof *k->addrs);
    q->addrs_n = k->n;
    return 0;
}

static int write_addresses(struct mg_dns_question *q, const struct name *k)
{
    size_t at = 0;

    q->text = mg_malloc(k->n * ADDRESS_BYTES);
    if (!q->text)
        return MG_ENOMEM;
    for (size_t i = 0; i < k->n; i++) {
        const struct sockaddr_storage *sa = &k->addrs[i].sa;
        const void *ip = sa->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
                                                   : (const void *)&((const struct sockaddr_in *)sa)->sin_addr;

        if (!is_of_type(&k->addrs[i], q->type) || !inet_ntop(sa->ss_family, ip, q->text + at, ADDRESS_BYTES - 1))
            continue;
        at += strlen(q->text + at);
        q->text[at++] = '\n';
    }
    q->text_n = at ? at - 1 : 0;
    return at ? 0 : MG_ENOENT;
}

static void answer(struct mg_dns_question *q, const struct name *k)
{
    int status = k->status;

    if (status == 0)
        status = k->type ? copy_text(q, k) : q->x ? write_addresses(q, k) : copy_addresses(q, k);
    send_back(q, status);
}

/* ---- the control thread's part ---- */

static void name_free(struct name *k)
{
    mg_map_remove(&k->dns->by_key, k->key);
    mg_list_remove(&k->node);
    k->dns->names_n--;
    mg_free(k->addrs);
    mg_free((char *)k->text.p);
    mg_free(k);
}

static void tell(struct name *k)
{
    struct mg_list *n;

    while ((n = mg_list_first(&k->waiting))) {
        mg_list_remove(n);
        k->dns->waiting_n--;
        answer(mg_container(n, struct mg_dns_question, node), k);
    }
}

static void keep_for(struct name *k, int ttl_s)
{
    int64_t keep_ms = k->status == MG_ENOENT ? NONE_MS : FAILED_MS;

    if (k->status == 0)
        keep_ms = 1000 * (int64_t)(ttl_s < 1 ? 1 : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s);
    k->until_ms = mg_loop_now_ms(&k->dns->worker->loop) + keep_ms;
}

static void found_records(void *arg, int status, struct mg_str text, int ttl_s)
{
    struct name *k = arg;
    char *copy = status == 0 ? mg_malloc(text.n) : NULL;

    k->is_asking = false;
    mg_free((char *)k->text.p);
    k->text = mg_str(copy, copy ? text.n : 0);
    if (copy)
        memcpy(copy, text.p, text.n);
    k->status = status == 0 && !copy ? MG_ENOMEM : status;
    keep_for(k, ttl_s);
    tell(k);
}

static void resolved(void *arg, int status, const struct mg_address *addrs, size_t n, int ttl_s)
{
    struct name *k = arg;

    k->is_asking = false;
    mg_free(k->addrs);
    k->addrs = status == 0 && n ? mg_malloc(n * sizeof *addrs) : NULL;
    k->n = k->addrs ? n : 0;
    k->status = status == 0 && !k->addrs ? n ? MG_ENOMEM : MG_ENOENT : status;
    if (k->addrs)
        memcpy(k->addrs, addrs, n * sizeof *addrs);
    keep_for(k, ttl_s);
    tell(k);
}

static void ask(struct name *k)
{
    k->is_asking = true;
    if (k->type && mg_resolver_records(k->dns->resolver, k->host, k->type, found_records, k) != 0)
        found_records(k, MG_ENOMEM, mg_str(NULL, 0), 0);
    else if (!k->type && mg_resolver_ask(k->dns->resolver, k->host, 0, resolved, k) != 0)
        resolved(k, MG_ENOMEM, NULL, 0, 0);
}

static bool make_room(struct mg_dns *d)
{
    mg_list_each(n, &d->names)
    {
        if (d->names_n < NAMES_MAX)
            break;
        if (!mg_container(n, struct name, node)->is_asking)
            name_free(mg_container(n, struct name, node));
    }
    return d->names_n < NAMES_MAX;
}

static struct name *name_of(struct mg_dns *d, struct mg_str key, int type)
{
    struct name *k = mg_map_get(&d->by_key, key);

    if (k || !make_room(d))
        return k;
    k = mg_calloc(1, sizeof *k + key.n);
    if (!k)
        return NULL;
    memcpy(k->bytes, key.p, key.n);
    k->host = k->key = mg_str(k->bytes, key.n);
    k->type = mg_is_record_type(type) ? type : 0;
    if (k->type)
        mg_str_next(&k->host, ' ', &(struct mg_str){ 0 });
    k->dns = d;
    mg_list_init(&k->waiting);
    if (mg_map_put(&d->by_key, k->key, k, NULL) != 0) {
        mg_free(k);
        return NULL;
    }
    mg_list_push(&d->names, &k->node);
    d->names_n++;
    return k;
}

static void asked(struct mg_worker *w, void *arg)
{
    struct mg_dns_question *q = arg;
    struct mg_dns *d = w->dns;
    struct name *k = d && d->waiting_n < WAITING_MAX ? name_of(d, mg_str(q->key, q->key_n), q->type) : NULL;

    if (!k) {
        send_back(q, MG_EBUSY);
        return;
    }
    mg_list_remove(&k->node);
    mg_list_push(&d->names, &k->node);
    if (!k->is_asking && mg_loop_now_ms(&w->loop) < k->until_ms) {
        answer(q, k);
        return;
    }
    mg_list_push(&k->waiting, &q->node);
    d->waiting_n++;
    if (!k->is_asking)
        ask(k);
}

int mg_dns_resolver(struct mg_dns *d, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    struct mg_resolver_conf copy = *conf;
    struct mg_resolver *r;
    char *servers;

    if (d->resolver && d->conf.timeout_ms == conf->timeout_ms && d->conf.tries == conf->tries && mg_str_eq(d->conf.servers, conf->servers))
        return 0;
    servers = mg_malloc(conf->servers.n + 1);
    if (!servers)
        return mg_fail(err, MG_ENOMEM, "dns: out of memory");
    if (conf->servers.n)
        memcpy(servers, conf->servers.p, conf->servers.n);
    copy.servers = mg_str(servers, conf->servers.n);
    r = mg_resolver_new(&d->worker->loop, &copy, err);
    if (!r) {
        mg_free(servers);
        return err->code;
    }
    if (d->resolver)
        mg_resolver_free(d->resolver); /* what it was asked is cancelled */
    mg_free((char *)d->conf.servers.p);
    d->resolver = r;
    d->conf = copy;
    mg_list_each(n, &d->names)
    {
        struct name *k = mg_container(n, struct name, node);

        k->until_ms = 0;
        if (k->is_asking)
            ask(k);
    }
    return 0;
}

struct mg_dns *mg_dns_open(struct mg_worker *w, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    struct mg_dns *d = mg_calloc(1, sizeof *d);

    if (!d) {
        mg_fail(err, MG_ENOMEM, "dns: out of memory");
        return NULL;
    }
    d->worker = w;
    mg_list_init(&d->names);
    if (mg_dns_resolver(d, conf, err) != 0) {
        mg_free(d);
        return NULL;
    }
    w->dns = d;
    return d;
}

void mg_dns_close(struct mg_worker *w)
{
    struct mg_dns *d = w->dns;
    struct mg_list *n, *q;

    w->dns = NULL;
    if (!d)
        return;
    mg_resolver_free(d->resolver);
    while ((n = mg_list_first(&d->names))) {
        struct name *k = mg_container(n, struct name, node);

        while ((q = mg_list_first(&k->waiting))) {
            mg_list_remove(q);
            send_back(mg_container(q, struct mg_dns_question, node), MG_ECANCELED);
        }
        name_free(k);
    }
    mg_map_deinit(&d->by_key);
    mg_free((char *)d->conf.servers.p);
    mg_free(d);
}

/* ---- a worker's part ---- */

static int save(struct mg_op *op, struct mg_str *text)
{
    return mg_dns_answer(op->x, op->id, text);
}

static int load(struct mg_op *op, int status, struct mg_str text)
{
    struct mg_dns_question *q = question_of(op, mg_str(NULL, 0), 0);

    if (q && text.n && !(q->text = mg_malloc(text.n))) {
        question_free(&q->brought);
        q = NULL;
    }
    if (!q)
        return MG_ENOMEM;
    if (text.n)
        memcpy(q->text, text.p, text.n);
    q->text_n = text.n;
    return mg_brought_keep(op->x, &q->brought) ? MG_ENOMEM : status;
}

static const struct mg_op_kind dns_kind = { .service = "dns", .save = save, .load = load };

static const char *type_text(int type)
{
    switch (type) {
    case 4: return " A";
    case 6: return " AAAA";
    case MG_RECORD_CNAME: return " CNAME";
    case MG_RECORD_PTR: return " PTR";
    case MG_RECORD_MX: return " MX";
    case MG_RECORD_TXT: return " TXT";
    case MG_RECORD_SRV: return " SRV";
    default: return "";
    }
}

int mg_dns_ask(struct mg_exchange *x, struct mg_str name, int type)
{
    struct mg_op *op = mg_op_start(x, NULL); /* a cancelled one's answer finds nobody */
    char text[NAME_BYTES + 8];
    struct mg_dns_question *q;
    int n, rc;

    if (!op)
        return MG_ENOMEM;
    n = snprintf(text, sizeof text, "%.*s%s", (int)name.n, name.p, type_text(type));
    if (x->outside && mg_outside_takes(op, &dns_kind, mg_str(text, (size_t)n)))
        return op->id;
    op->kind = &dns_kind;
    q = question_of(op, name, type);
    rc = q ? mg_worker_post_index(MG_WORKERS_MAX - 1, asked, q) : MG_ENOMEM;
    if (rc) {
        if (q)
            question_free(&q->brought);
        mg_op_end(op, rc == MG_ENOENT ? MG_EBUSY : MG_ENOMEM);
    }
    return op->id;
}

int mg_dns_answer(struct mg_exchange *x, int op, struct mg_str *out)
{
    struct mg_brought *b = mg_brought_find(x, &kind_mark, op);
    const struct mg_dns_question *q = b ? mg_container(b, struct mg_dns_question, brought) : NULL;

    *out = q ? mg_str(q->text, q->text_n) : mg_str(NULL, 0);
    return q ? 0 : MG_ENOENT;
}

void mg_dns_forget(struct mg_exchange *x, int op)
{
    struct mg_brought *b = mg_brought_find(x, &kind_mark, op);

    if (b)
        mg_brought_drop(x, b);
}

/* ---- lookups ---- */

int mg_dns_lookup(struct mg_dns_lookup *l, struct mg_worker *w, struct mg_str name)
{
    struct mg_dns_question *q = question_new(w->index, name, 0);
    int rc;

    if (!q)
        return MG_ENOMEM;
    q->brought.free = question_free;
    q->lookup = l; /* before it is sent: then it is the control thread's, but for this field */
    rc = mg_worker_post_index(MG_WORKERS_MAX - 1, asked, q);
    if (rc != 0) {
        question_free(&q->brought);
        return rc == MG_ENOENT ? MG_ENOENT : MG_ENOMEM;
    }
    l->question = q;
    return 0;
}

/* The question is on its way: its answer finds nobody. Only this thread looks at `lookup`. */
void mg_dns_lookup_cancel(struct mg_dns_lookup *l)
{
    if (l->question)
        l->question->lookup = NULL;
    l->question = NULL;
}
