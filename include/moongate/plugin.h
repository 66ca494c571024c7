/* plugin.h - what a plugin is: one constant that describes it.
 *
 * A C plugin is a shared object that exports `const struct mg_plugin mg_plugin`: a name, the table
 * of its config fields, what it needs and provides, and a function for each phase it cares about. The
 * calls it may make are in pdk.h. docs/plugins-c.md walks through a whole one;
 * examples/plugin-c/ is one that is built out of tree.
 *
 * Life of a plugin: for each entry of a chain, the builder thread fills a config struct from the
 * field table and calls `create`; then each worker calls `worker_create`. Phase functions run on
 * workers, with the instance (shared, read-only) and the worker's own state. When the last exchange of a snapshot has
 * ended, `worker_destroy` runs on each worker and then `destroy`. The code itself is never unloaded.
 *
 * Life of the contract: fields are only ever appended to the structs of this file. `size` and
 * `field_bytes` say how much a plugin knows, so one built against an older minor version loads and runs.
 */
#ifndef MOONGATE_PLUGIN_H
#define MOONGATE_PLUGIN_H

#include <moongate/pdk.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Major in the upper 16 bits: it must match. Minor below: the host's must not be lower. */
#define MG_PLUGIN_ABI ((1u << 16) | 0u)

struct mg_error {
    int code;          /* 0, a UV_E* code or an MG_E* code */
    char message[256]; /* what was wrong and where; "" when code is 0 */
};

/* ---- config fields ---------------------------------------------------------------------- */

/* A field's type, and what it is in the plugin's config struct. Optional fields without preset
 * are all zero bytes (functions: -1). Strings and arrays live as long as the instance. */
enum mg_type {
    MG_BOOL = 1,     /* bool */
    MG_INT = 2,      /* int64_t; range min..max */
    MG_NUMBER = 3,   /* double; range min..max */
    MG_STRING = 4,   /* struct mg_str, NUL-terminated as well */
    MG_DURATION = 5, /* int64_t milliseconds, from "250ms", "5s", "1m", "2h", "1d"; range in ms */
    MG_SIZE = 6,     /* int64_t bytes, from 1024, "64k", "10m", "1g"; range in bytes */
    MG_ENUM = 7,     /* int: index into `values` */
    MG_LIST = 8,     /* struct mg_array of what `item` describes */
    MG_MAP = 9,      /* struct mg_array of { struct mg_str key; …what `item` describes }, sorted by key */
    MG_TABLE = 10,   /* a struct of its own, described by `fields`, in place */
    MG_FUNCTION = 11, /* int32_t: number for mg_fn_call; -1: none */
    MG_TEMPLATE = 12, /* struct mg_template *: compiled, freed by the host */
    MG_REGEX = 13,   /* struct mg_re *: compiled, freed by the host */
    MG_PATH = 14,    /* struct mg_str: a file, made absolute from the config's folder */
    MG_ANY = 15      /* struct mg_str: any plain data, as JSON text */
};

struct mg_array {
    const void *items;
    size_t n;
};

/* One config field. A table of these ends with a field whose name is NULL.
 *
 *     { "limit",  MG_INT,      offsetof(struct conf, limit), .required = true, .min = 1, .has_min = true, .doc = "…" },
 *     { "window", MG_DURATION, offsetof(struct conf, window_ms), .preset = "1s", .doc = "…" },
 */
struct mg_field {
    const char *name;
    enum mg_type type;
    size_t offset;              /* in the struct; of an item: 0 (after the key in a map) */
    const char *preset;         /* the default, written as in the config: "1s", "true", "consumer" */
    bool required;
    bool has_min, has_max;
    double min, max;            /* numbers: the value; strings: bytes; lists and maps: items */
    const char *const *values;  /* MG_ENUM: the words, NULL-terminated */
    const struct mg_field *fields; /* MG_TABLE: its fields */
    const struct mg_field *item;   /* MG_LIST, MG_MAP: one field that describes an item */
    size_t item_bytes;          /* stride of the items: the struct's size, with the key in a map */
    int at;                     /* > 0: may also be given by position: { "x", key = … } has "x" at 1; a scalar in place
                                 * of the table is its field at 1 */
    bool single;                /* MG_LIST: one item may stand for a list of one */
    bool secret;                /* masked wherever the config is shown */
    bool or_function;           /* a function may stand in its place: see function_offset */
    size_t function_offset;     /* int32_t for or_function: the number, or -1 when the field is plain */
    const char *pattern;        /* MG_STRING: a PCRE2 pattern that the whole value must match */
    const char *doc;            /* one sentence for the reference page */
};

/* ---- functions of the config ----------------------------------------------------------------- */

/* Call a Lua function that the config gave for a MG_FUNCTION field, with the exchange as its one argument. It cannot
 * wait. `out` gets nil, a boolean, a number or a text (valid until the exchange ends). 0, or MG_ERROR's
 * cause < 0 when it raised (already logged). Worker thread, in a phase function; out of Lua's reach. */
__attribute__((visibility("default")))
int mg_fn_call(struct mg_x *x, int32_t function, struct mg_datum *out);

/* ---- work outside of an exchange ------------------------------------------------------------ */

/* A task: what a plugin does when no client waits for it. It has a handle of its own, `task`, on which everything that waits works as
 * on an exchange's (mg_sleep…), and mg_x_alloc, mg_x_local, mg_ctx_*; calls about a request or a response give MG_EPHASE. It is called
 * first with op 0, then with the number and the status of each operation of its own that ends. MG_WAIT: it goes on; MG_CONTINUE: it is
 * done; MG_ERROR: it is done, and an error is logged. */
typedef enum mg_verdict mg_task_fn(struct mg_x *task, void *arg, int op, int status);

/* Begin a task, for the chain entry that runs now. Its function is called in the worker's next turn, never inside this call.
 * x: the exchange or the task that asks for it, in any phase (on_log too: it outlives the exchange); NULL in worker_create: it
 *   then begins when the entry's snapshot comes into force.
 * arg: the task's from now on; `release` (may be NULL) is called with it exactly once, when the task has ended in whatever way, on
 *   the same worker. It may not begin anything.
 * timeout_ms: then it is cancelled; 0: never.
 * task: its handle, for mg_task_cancel; may be NULL.
 * When its snapshot goes out of force, or the gateway stops, it has the config's `drain` to come to its end (mg_task_is_leaving says
 * so), then it is cancelled. One begun in worker_create, or by such a one, is cancelled at once then.
 * 0; MG_EBUSY: there are tasks.max of them; MG_ECANCELED: the worker stops; MG_EPHASE, MG_EENDED, MG_ENOMEM, MG_EINVAL. arg stays the
 * caller's then. Worker thread. */
__attribute__((visibility("default")))
int mg_task_start(struct mg_x *x, mg_task_fn *fn, void *arg, void (*release)(void *arg), int64_t timeout_ms, struct mg_x **task);

enum mg_timer_flags {
    MG_TIMER_EVERY = 1,            /* again and again; without it: once */
    MG_TIMER_ONCE_PER_GATEWAY = 2, /* in worker_create alone, which runs on each worker: one of them has it go off */
    MG_TIMER_ALIGNED = 4           /* at whole multiples of the time since 1970 (an hour: on the hour), so that reloads do not put it off */
};
/* Have `fn` run as a task after `ms` (at least 1), plus a random part of `jitter_ms` each time. Never two at once: a beat that comes while
 * the last one's task still runs is left out. It belongs to the entry that sets it, on this worker: it begins when the entry's snapshot is in
 * force and stops when that no longer is, or when the worker stops; a task that runs then may end. After that it does not go off,
 * and `release` is called once, when no task of it runs any more.
 * The timer's number, > 0, for mg_timer_stop; MG_EBUSY: there are tasks.timers of them; else as mg_task_start. */
__attribute__((visibility("default")))
int mg_timer_start(struct mg_x *x, int64_t ms, int64_t jitter_ms, int flags, mg_task_fn *fn, void *arg, void (*release)(void *arg));

/* A function that may block, for mg_work: on a thread that runs no exchange. It may call what pdk.h says is for any thread. `*output`: what
 * malloc gave, freed by the host, with its length in `*output_n`; NULL (as it is): nothing. Its result is the operation's status: >= 0,
 * or an MG_E* code. It never enters Lua. */
typedef int mg_work_fn(const char *input, size_t input_n, char **output, size_t *output_n);
/* Run fn over a copy of `input`. A few run at a time in the whole gateway (4), others wait (256 at most). The operation's number; on_wake
 * gets fn's status, or MG_EBUSY when too many wait. Cancelled: one that has not begun does not; one that runs comes to its end, and what
 * it put out is freed. In phases that may wait, and in tasks; MG_EPHASE, MG_EENDED, MG_ENOMEM, MG_EINVAL. Worker thread. */
__attribute__((visibility("default")))
int mg_work(struct mg_x *x, mg_work_fn *fn, const char *input, size_t input_n);

/* ---- the descriptor ------------------------------------------------------------------------- */

/* A kind of credential that consumers may have in the config, under `kind`:
 *     consumers = { alice = { keys = { "k-1", { "k-2", id = "laptop" } } } }   */
struct mg_credential_kind {
    const char *kind;               /* the key in a consumer: "keys", "basic", "jwt" */
    const struct mg_field *fields;  /* of one credential; a plain string is its field at 1 */
    size_t conf_bytes;              /* of the struct that they fill */
    const char *key;                /* the field that finds it; unique over all consumers */
    /* Builder thread, once the struct is filled: check what the field table cannot and prepare (the struct may be
     * changed). 0, or < 0 with err->message. `release` undoes it when the snapshot goes. Both may be NULL. */
    int (*prepare)(void *conf, const char *folder, struct mg_error *err);
    void (*release)(void *conf);
};

/* What `create` is told about the entry. Lives as long as the instance. */
struct mg_entry {
    const void *conf;      /* the filled config struct */
    struct mg_str id;      /* the entry's id: given, or "plugin" / "plugin#2" */
    struct mg_str route;   /* the route's id; empty in the global chain */
    struct mg_str folder;  /* the config's folder, absolute */
};

/* A phase function. x: the exchange. self: what `create` gave, or the config struct where there is
 * no `create`. local: what worker_create gave on this worker. */
typedef enum mg_verdict mg_phase_fn(struct mg_x *x, void *self, void *local);

struct mg_plugin {
    uint32_t abi;          /* MG_PLUGIN_ABI */
    uint32_t size;         /* sizeof(struct mg_plugin) */
    const char *name;      /* lower case with dashes */
    const char *version;
    const char *doc;       /* one line */
    const struct mg_field *fields; /* may be NULL */
    uint32_t field_bytes;  /* sizeof(struct mg_field) */
    uint32_t flags;        /* 0 */
    size_t conf_bytes;
    const char *const *needs;      /* facts, NULL-terminated: "consumer"… */
    const char *const *provides;
    const struct mg_credential_kind *credentials; /* one kind, or NULL */

    /* Builder thread. Check what the field table cannot and prepare. 0 with *self set, or < 0 with err->message
     * ("limits[2]: window is shorter than …"). */
    int (*create)(const struct mg_entry *entry, void **self, struct mg_error *err);
    void (*destroy)(void *self);
    /* On each worker, before its first exchange; 0 with *local set, or < 0. */
    int (*worker_create)(void *self, void **local);
    void (*worker_destroy)(void *self, void *local);

    mg_phase_fn *on_rewrite; /* global chain only */
    mg_phase_fn *on_request;
    mg_phase_fn *on_request_body;
    mg_phase_fn *on_response;
    mg_phase_fn *on_response_body;
    mg_phase_fn *on_log;     /* its verdict is not looked at */
    /* An operation started by this entry has ended, with `status`. Its verdict takes the place of
     * the one of the phase function that returned MG_WAIT. One that ends after the phase went on is dropped. */
    enum mg_verdict (*on_wake)(struct mg_x *x, void *self, void *local, int op, int status);

    /* Facts that depend on the entry's config; they take the place of `needs` and `provides`. May be NULL. Builder
     * thread, before `create`. The list is static. */
    const char *const *(*needs_of)(const void *conf);
    const char *const *(*provides_of)(const void *conf);
};

/* What an entry with this config needs and provides (the host asks; a plugin older than a member has none). NULL: nothing. */
static inline const char *const *mg_plugin_needs(const struct mg_plugin *p, const void *conf)
{
    if (p->size >= offsetof(struct mg_plugin, needs_of) + sizeof(p->needs_of) && p->needs_of)
        return p->needs_of(conf);
    return p->needs;
}
static inline const char *const *mg_plugin_provides(const struct mg_plugin *p, const void *conf)
{
    if (p->size >= offsetof(struct mg_plugin, provides_of) + sizeof(p->provides_of) && p->provides_of)
        return p->provides_of(conf);
    return p->provides;
}

/* The symbol that a shared object exports. */
#define MG_PLUGIN_EXPORT __attribute__((visibility("default"))) extern const struct mg_plugin mg_plugin; \
    const struct mg_plugin mg_plugin

#ifdef __cplusplus
}
#endif
#endif
