#include "exchange/account.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "exchange/worker.h"

enum { SLOTS = 2 * MG_ACCOUNTS_MAX, OWN_MAX = MG_ACCOUNTS_MAX - 256 /* the rest is for those that come late */ };

struct row { char *text; /* plugin, entry, route, each with a NUL */ uint32_t hash; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct row rows[MG_ACCOUNTS_MAX]; /* the first is everybody's */
static uint32_t rows_n = 1;
static uint16_t slots[SLOTS];
static struct mg_account *accounts[MG_WORKERS_MAX];

static const char *next_text(const char *p) { return p + strlen(p) + 1; }

static uint32_t mix(uint32_t h, struct mg_str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u; /* FNV-1a */
    return (h ^ 0xff) * 16777619u;
}

static bool is_row(const struct row *r, struct mg_str plugin, struct mg_str entry, struct mg_str route)
{
    const char *second = next_text(r->text);

    return mg_str_eq(plugin, mg_str_c(r->text)) && mg_str_eq(entry, mg_str_c(second)) && mg_str_eq(route, mg_str_c(next_text(second)));
}

static char *join(struct mg_str a, struct mg_str b, struct mg_str c)
{
    char *p = calloc(1, a.n + b.n + c.n + 3);

    if (!p)
        return NULL;
    memcpy(p, a.p, a.n);
    if (b.n)
        memcpy(p + a.n + 1, b.p, b.n);
    if (c.n)
        memcpy(p + a.n + b.n + 2, c.p, c.n);
    return p;
}

/* Under the lock. 0: not there, and no more than `max` may be. */
static uint32_t find_or_add(struct mg_str plugin, struct mg_str entry, struct mg_str route, uint32_t max)
{
    uint32_t hash = mix(mix(mix(2166136261u, plugin), entry), route), at = hash % SLOTS;

    for (; slots[at]; at = (at + 1) % SLOTS)
        if (rows[slots[at]].hash == hash && is_row(&rows[slots[at]], plugin, entry, route))
            return slots[at];
    if (rows_n >= max)
        return 0;
    rows[rows_n] = (struct row){ join(plugin, entry, route), hash };
    if (!rows[rows_n].text)
        return 0;
    slots[at] = (uint16_t)rows_n;
    return __atomic_fetch_add(&rows_n, 1, __ATOMIC_RELEASE);
}

uint32_t mg_account_row(struct mg_str plugin, struct mg_str entry, struct mg_str route)
{
    uint32_t row;

    pthread_mutex_lock(&lock);
    row = find_or_add(plugin, entry, route, OWN_MAX);
    if (!row)
        row = find_or_add(plugin, mg_str("", 0), MG_STR("(others)"), MG_ACCOUNTS_MAX);
    pthread_mutex_unlock(&lock);
    return row;
}

/* Pages that nobody writes to cost nothing. */
struct mg_account *mg_accounts_of(int worker)
{
    void *p;

    pthread_mutex_lock(&lock);
    if (!accounts[worker]) {
        p = mmap(NULL, MG_ACCOUNTS_MAX * sizeof(struct mg_account), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p != MAP_FAILED)
            accounts[worker] = p;
    }
    p = accounts[worker];
    pthread_mutex_unlock(&lock);
    return p;
}

static uint64_t read_one(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

bool mg_account_sum(uint32_t row, struct mg_account_sum *out)
{
    const char *text;

    if (row >= __atomic_load_n(&rows_n, __ATOMIC_ACQUIRE))
        return false;
    text = row ? rows[row].text : "(others)\0\0";
    *out = (struct mg_account_sum){ .plugin = text, .entry = next_text(text), .route = next_text(next_text(text)) };
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MG_WORKERS_MAX; i++) {
        const struct mg_account *a = accounts[i] ? &accounts[i][row] : NULL;

        if (!a)
            continue;
        out->calls += read_one(&a->calls);
        out->errors += read_one(&a->errors);
        out->lua_bytes += read_one(&a->lua_bytes);
        out->seconds += (double)read_one(&a->ns) / 1e9;
    }
    pthread_mutex_unlock(&lock);
    return true;
}

int64_t mg_account_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void mg_account_measured(struct mg_account *a, int64_t since)
{
    int64_t ns = mg_account_clock() - since;
    uint64_t calls = a->calls - a->measured;

    a->measured = a->calls;
    a->due = a->calls + MG_ACCOUNT_EVERY - 1;
    mg_account_add(&a->ns, (uint64_t)(ns > 0 ? ns : 0) * calls);
}
