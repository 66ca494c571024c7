/* account.h - what plugins cost: calls, errors, time on a worker, Lua memory allocated.
 *
 * A row is a chain entry, known by plugin, entry and route, and lives as long as the process, so that what was counted goes on being
 * counted over reloads. Each worker has a row of its own of each, which it alone writes; who reads adds them up.
 * There are at most MG_ACCOUNTS_MAX rows: what comes late shares a row for its plugin, and in the end one for all.
 *
 * Time is measured at one call in MG_ACCOUNT_EVERY (a prime, since the phases of an exchange come in step) and stands
 * for those since the one before; it is the wall clock's while the plugin's function is on the stack, so that waits do not count. */
#ifndef MG_EXCHANGE_ACCOUNT_H
#define MG_EXCHANGE_ACCOUNT_H

#include <stdint.h>
#include <stdbool.h>
#include "base/str.h"

enum { MG_ACCOUNTS_MAX = 4096, MG_ACCOUNT_EVERY = 17 };

struct mg_account {
    uint64_t calls;     /* of its functions, and goings-on after a wait */
    uint64_t due;       /* the call that is measured next */
    uint64_t measured;  /* calls that `ns` stands for */
    uint64_t ns;
    uint64_t errors;
    uint64_t lua_bytes;
    uint64_t unused[2]; /* a line of the cache */
};

/* The row of an entry; 0 when there is none left and for who has none. Any thread. */
uint32_t mg_account_row(struct mg_str plugin, struct mg_str entry, struct mg_str route);
/* The rows of a worker, by its index: the same ones for whoever has that index later. NULL when out of memory. */
struct mg_account *mg_accounts_of(int worker);

struct mg_account_sum { const char *plugin, *entry, *route; uint64_t calls, errors, lua_bytes; double seconds; };
/* Sums over all workers; false past the last row. Any thread. */
bool mg_account_sum(uint32_t row, struct mg_account_sum *out);

/* ---- on the worker's thread ---- */

int64_t mg_account_clock(void);
void mg_account_measured(struct mg_account *a, int64_t since);

static inline void mg_account_add(uint64_t *field, uint64_t n)
{
    __atomic_store_n(field, *field + n, __ATOMIC_RELAXED);
}
/* A call begins: 0, or the time when it is to be measured. a may be NULL. */
static inline int64_t mg_account_begin(struct mg_account *a)
{
    if (!a)
        return 0;
    mg_account_add(&a->calls, 1);
    return a->calls > a->due ? mg_account_clock() : 0;
}
static inline void mg_account_end(struct mg_account *a, int64_t since)
{
    if (since)
        mg_account_measured(a, since);
}

#endif
