/* build_parts.h - what the files of the builder share. For server/build*.c, and for trial/, which makes
 * a chain and consumers without the rest: it sets s (with arena, registry and script), config (for its folder) and check. */
#ifndef MG_SERVER_BUILD_PARTS_H
#define MG_SERVER_BUILD_PARTS_H

#include "base/map.h"
#include "config/check.h"
#include "server/build.h"
#include "server/schema.h"

/* A build under way. Mistakes gather in `check`; only running out of memory (or a cause outside the config) ends it early. */
struct mg_making {
    struct mg_build *b;
    struct mg_snapshot *s;
    struct mg_config *config;
    struct mg_check check;
    struct mg_conf conf;
    struct mg_map upstreams;       /* by name or origin: struct mg_upstream_spec */
    struct mg_map route_ids;       /* values: the route's node */
    struct mg_h1_limits *response_limits;
    struct mg_tls *tls_plain;      /* for inline https URLs */
    bool uses_lua;
    bool any_phase;                /* a route's chain may have on_rewrite: a simulated one is the global chain, too */
};

struct mg_arena *mg_making_arena(struct mg_making *m);
/* 0, or MG_ENOMEM. Each reads m->conf and the checked tree and fills its part of m->s. */
int mg_make_listeners(struct mg_making *m);
int mg_make_upstreams(struct mg_making *m);
int mg_make_global_chain(struct mg_making *m, struct mg_chain_entry ***entries, int *n);
int mg_make_routes(struct mg_making *m, struct mg_chain_entry **global, int global_n);
/* The config's `debug`: m->s->debug. */
int mg_make_debug(struct mg_making *m);
/* From a table of them by name, or NULL: none. */
int mg_make_consumers(struct mg_making *m, const struct mg_value *map);

/* The chain of a list node (may be NULL), appended to the n entries already in `entries` (room for MG_ENTRIES_MAX).
 * *whole: every entry could be made. */
int mg_make_entries(struct mg_making *m, struct mg_value *list, struct mg_str route, struct mg_chain_entry **entries, int *n, bool *whole);
/* Around the loading of a plugin: until mg_make_loaded a crash is its own. *out: NULL, or a stand-in: it is not to be loaded. */
int mg_make_load(struct mg_making *m, struct mg_str name, const struct mg_plugin **out);
void mg_make_loaded(void);
/* Is it such a stand-in? Then its entry becomes one that is out. */
bool mg_make_is_unloadable(const struct mg_plugin *p);
int mg_make_unloadable(struct mg_making *m, struct mg_chain_entry *e);
/* An entry that is whole but for its instance: its digests; when it is in quarantine, another plugin in the place of its own. 0 or MG_ENOMEM. */
int mg_make_quarantine(struct mg_making *m, struct mg_chain_entry *e, const struct mg_value *conf, bool is_inline);
/* A plugin by name, loaded; in a sandbox when that is asked for or the config's `sandbox` says so. 0, MG_ECONF with err, MG_ENOMEM. */
int mg_making_plugin(struct mg_making *m, struct mg_str name, bool sandbox, const struct mg_plugin **out, struct mg_error *err);

/* The upstream of a URL; base gets its path. NULL: a mistake was added at `at`, or out of memory (m->check untouched). */
struct mg_upstream_spec *mg_make_url_upstream(struct mg_making *m, struct mg_str url, const struct mg_value *at, struct mg_str *base);
/* Values of a checked timeouts or limits table (may be NULL) over what `into` holds. */
void mg_merge_fields(const struct mg_field *fields, const struct mg_value *table, void *into);
/* "host:port" or "[v6]:port": false when it is neither. */
bool mg_split_host_port(struct mg_str text, struct mg_str *host, int *port);
/* `true` (308) or a status; 0 when absent; a mistake otherwise. */
int mg_redirect_status(struct mg_making *m, const struct mg_value *v);
/* The folder's part put before a relative path. */
struct mg_str mg_making_path(struct mg_making *m, struct mg_str path);

#endif
