/* flights.h - who computes what for a cache (mg_cache_* of pdk.h; core/pdk/cache.c), and who waits for it.
 *
 * A flight is a key that is being computed: its owner is an exchange, its waiters are operations of others, on any worker. A flight ends
 * with a result, which each waiter gets as a copy in a message to its worker; or with the owner's exchange, and then the first
 * waiter becomes the owner. When that one's exchange has ended meanwhile its message passes the flight on. Flights lie in parts with
 * a lock each; a dictionary's part may be locked below it. */
#ifndef MG_SERVICE_FLIGHTS_H
#define MG_SERVICE_FLIGHTS_H

#include "service/brought.h"
#include "service/shared.h"

/* What a wait brought. */
struct mg_flight_result {
    struct mg_brought brought;
    int state;                 /* enum mg_cache_state */
    int64_t left_ms;
    struct mg_str value;       /* in the same block */
    char bytes[];
};
extern const char mg_flight_kind;

enum mg_flight_role { MG_FLIGHT_OWNER, MG_FLIGHT_WAITER, MG_FLIGHT_LANDED, MG_FLIGHT_NO_MEMORY };

/* Own or join. landed: asked under the lock when nobody computes: has it come meanwhile? The waiter's operation is *op. */
enum mg_flight_role mg_flight_board(struct mg_exchange *x, struct mg_shared *d, struct mg_str key, bool (*landed)(void *arg), void *arg,
                                    struct mg_op **op);
/* The owner has a result. keep: called under the lock, with whether the key is as it was when the flight began. false: x owns no such
 * flight, and keep was not called. */
bool mg_flight_land(struct mg_exchange *x, struct mg_shared *d, struct mg_str key, int state, struct mg_str value, int64_t left_ms,
                    void (*keep)(void *arg, bool is_current), void *arg);
/* Counts changes of a key (and now and then of another one that shares its number). */
uint32_t mg_flight_version(const struct mg_shared *d, struct mg_str key);
void mg_flight_changed(const struct mg_shared *d, struct mg_str key);
void mg_flight_all_changed(void);
/* A result on its own, as of a simulated wait. NULL: out of memory. */
struct mg_flight_result *mg_flight_result_new(int op, int state, struct mg_str value, int64_t left_ms);

#endif
