/* quarantine.h - plugins that keep crashing the gateway process, or keep holding its workers, are left out.
 *
 * Each crash and each stall is blamed on the chain entry that ran: plugin, entry, route, and a digest of the plugin's file and
 * the entry's config. The supervisor counts; an entry with `crashes` of them within `window` is out, and a whole plugin (of a
 * file) when its entries together have twice as many. A gateway process starts as a fork of the supervisor, and so with a copy of what
 * is known; its builder puts an answer in the place of entries that are out (build_quarantine.c).
 *
 *     supervisor                                gateway process
 *     mg_quarantine_count(q, &blame, now)  <--  last words (crash.h) or MG_NOTE_STALLED
 *                                fork      -->  mg_quarantine_find(q, &who)       the builder, for each entry
 *     mg_quarantine_release(q, &blame)     <--  MG_NOTE_RELEASED: the digest is another now, or somebody asked
 *
 * Both copies have a lock of their own: in the gateway process the builder, the control thread and nobody else use it. */
#ifndef MG_SERVER_QUARANTINE_H
#define MG_SERVER_QUARANTINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MG_SUSPECTS_MAX = 64, MG_QUARANTINE_CRASHES_MAX = 32 };

/* Who did it. Entry and route are empty when a whole plugin is meant; texts that are longer are cut. */
struct mg_blame {
    char plugin[72], entry[72], route[136];
    char phase[24], cause[24];  /* "on_request", "SIGSEGV" or "stall" */
    uint64_t digest;            /* of the plugin's file and the entry's config */
    uint64_t file;              /* of the file alone */
};

/* The entry of a blame for what a plugin does while it is loaded, before it has entries: a script's own code, a constructor. Its digest
 * is another one (no byte was read yet), so that it goes by itself. */
#define MG_BLAME_LOAD "(load)"

/* What the config in force says. */
struct mg_quarantine_rules {
    int32_t crashes;            /* 0: nobody is ever left out */
    int64_t window_ms;
    int64_t end_ms;             /* how long a process may take to end that has handed its sockets over */
};

struct mg_suspect {
    struct mg_blame blame;      /* the last one */
    int64_t at_ms[MG_QUARANTINE_CRASHES_MAX]; /* a ring, monotonic */
    uint64_t crashes;           /* ever */
    bool is_out;
    int64_t out_since_us;       /* wall clock */
};

struct mg_quarantine {
    pthread_mutex_t lock;
    struct mg_quarantine_rules rules;
    struct mg_suspect all[MG_SUSPECTS_MAX];
    int n;
};

void mg_quarantine_init(struct mg_quarantine *q);
/* Supervisor: another one. True when that puts an entry, or its whole plugin, out. */
bool mg_quarantine_count(struct mg_quarantine *q, const struct mg_blame *blame, int64_t now_ms, int64_t wall_us);
/* Is this entry out, by itself or with its plugin? True with *out filled. One whose digest is another now is forgotten instead, and
 * *released says so (its blame is in *out then). */
bool mg_quarantine_find(struct mg_quarantine *q, const struct mg_blame *who, struct mg_suspect *out, bool *released);
/* Forget what is known of these: same plugin (empty: all), and same entry and route unless both are empty. How many were out. */
int mg_quarantine_release(struct mg_quarantine *q, const struct mg_blame *who);
/* A copy of the i-th suspect; false past the end. */
bool mg_quarantine_at(struct mg_quarantine *q, int i, struct mg_suspect *out);

/* "plugin shaky, phase on_request, route users". */
void mg_blame_text(const struct mg_blame *b, char *out, size_t room);

#endif
