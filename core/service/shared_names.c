/* shared_names.c - the process's dictionaries, by name. */
#include "service/shared_parts.h"

#include "base/alloc.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_shared *first, *last;
static int count;

bool mg_shared_is_name(struct mg_str name)
{
    if (name.n == 0 || name.n > MG_SHARED_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~')
            return false;
    return true;
}

static struct mg_shared *make(struct mg_str name)
{
    struct mg_shared *d = mg_malloc(sizeof *d + 64);

    if (!d)
        return NULL;
    d = (struct mg_shared *)(((uintptr_t)d + 63) & ~(uintptr_t)63); /* never freed */
    memset(d, 0, sizeof *d);
    for (int i = 0; i < SHARED_PARTS; i++) {
        pthread_mutex_init(&d->parts[i].lock, NULL);
        mg_list_init(&d->parts[i].used);
        atomic_init(&d->parts[i].oldest, UINT64_MAX);
    }
    atomic_init(&d->capacity, MG_SHARED_CAPACITY);
    memcpy(d->name, name.p, name.n);
    d->name_n = name.n;
    if (last)
        last->next = d;
    else
        first = d;
    last = d;
    count++;
    return d;
}

static struct mg_shared *find(struct mg_str name)
{
    struct mg_shared *d = first;

    while (d && !mg_str_eq(mg_str(d->name, d->name_n), name))
        d = d->next;
    return d;
}

struct mg_shared *mg_shared_find(struct mg_str name, int *rc)
{
    struct mg_shared *d;

    *rc = MG_EINVAL;
    if (!mg_shared_is_name(name))
        return NULL;
    pthread_mutex_lock(&lock);
    d = find(name);
    *rc = 0;
    if (!d && count >= MG_SHARED_DICTIONARIES_MAX)
        *rc = MG_EBUSY;
    else if (!d && !(d = make(name)))
        *rc = MG_ENOMEM;
    pthread_mutex_unlock(&lock);
    return d;
}

struct mg_str mg_shared_name(const struct mg_shared *d)
{
    return mg_str(d->name, d->name_n);
}

/* Dictionaries are only ever added, so the list may be walked without the lock from an end that was seen under it. */
static struct mg_shared *seen_last(void)
{
    struct mg_shared *d;

    pthread_mutex_lock(&lock);
    d = last;
    pthread_mutex_unlock(&lock);
    return d;
}

void mg_shared_each(void (*fn)(void *arg, struct mg_shared *d), void *arg)
{
    struct mg_shared *end = seen_last();

    for (struct mg_shared *d = end ? first : NULL; d; d = d == end ? NULL : d->next)
        fn(arg, d);
}

struct sizes { const struct mg_shared_size *sizes; size_t n; };

static void resize(void *arg, struct mg_shared *d)
{
    const struct sizes *s = arg;
    int64_t capacity = MG_SHARED_CAPACITY;

    for (size_t i = 0; i < s->n; i++)
        if (mg_str_eq(s->sizes[i].name, mg_shared_name(d)))
            capacity = s->sizes[i].bytes;
    atomic_store(&d->capacity, capacity);
    mg_shared_trim(d);
}

int mg_shared_configure(const struct mg_shared_size *sizes, size_t n)
{
    struct sizes s = { sizes, n };
    int rc = 0, first_rc = 0;

    for (size_t i = 0; i < n; i++)
        if (!mg_shared_find(sizes[i].name, &rc) && !first_rc)
            first_rc = rc;
    mg_shared_each(resize, &s);
    return first_rc;
}

static void reset(void *arg, struct mg_shared *d)
{
    (void)arg;
    mg_shared_clear(d);
    atomic_store(&d->capacity, MG_SHARED_CAPACITY);
    atomic_store(&d->evictions, 0);
}

void mg_shared_reset(void)
{
    mg_shared_each(reset, NULL);
}
