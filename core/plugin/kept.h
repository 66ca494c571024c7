/* kept.h - what an entry of a chain may change, as a value: kept before it runs, compared afterwards, put back.
 *
 * Field bytes in the arena are never written again, so that a copy of the index is a copy of the head. on_error = "continue" and
 * mode = "observe" put back what was kept (plugin/undo.c, plugin/watch.c); a trace lists the difference (plugin/trace.h).
 * Bodies are not kept here: undo.c does, when one is replaced.
 *
 *     mg_kept_save(x, &was, &x->arena);
 *     … the entry runs …
 *     mg_kept_changes(x, &was, told, arg);       // each change once
 *     mg_kept_put_back(x, &was);
 *
 * Whoever gives an exchange another member that a plugin may set in a phase of heads adds it to the struct and to the three
 * functions. */
#ifndef MG_PLUGIN_KEPT_H
#define MG_PLUGIN_KEPT_H

#include "exchange/exchange.h"

struct mg_head_copy { struct mg_head *head; struct mg_head value; struct mg_header *at; };

struct mg_kept {
    struct mg_head_copy req, res;   /* head NULL: there was none */
    struct mg_str path, query, host, id, answer;
    struct mg_head *answer_head;
    const struct mg_upstream_spec *upstream;
    const struct mg_consumer *consumer;
    const struct mg_credential *credential;
    int port;
    bool has_query, resized[2];
    uint16_t sets[2];               /* how often a body was set */
};

enum mg_changed {
    MG_CHANGED_METHOD, MG_CHANGED_PATH, MG_CHANGED_QUERY, MG_CHANGED_HOST, MG_CHANGED_REQUEST_HEADER, MG_CHANGED_ID, MG_CHANGED_CONSUMER,
    MG_CHANGED_UPSTREAM, MG_CHANGED_STATUS, MG_CHANGED_RESPONSE_HEADER, MG_CHANGED_REQUEST_BODY, MG_CHANGED_RESPONSE_BODY,
    MG_CHANGED_ANSWER,              /* one was recorded: `is` has its status, `bytes` its body's length */
    MG_CHANGED_ANSWER_HEADER,
    MG_CHANGED_CTX,
    MG_CHANGED_KINDS
};
/* One thing that is otherwise than before. Texts are borrowed from the exchange. */
struct mg_change {
    uint8_t what;                   /* enum mg_changed */
    struct mg_str name;             /* of a field or ctx value */
    struct mg_str was, is;          /* p NULL: absent. Several fields of a name are joined by ", " */
    int64_t bytes;                  /* of a body that was set; else 0 */
};
typedef void mg_change_fn(void *arg, const struct mg_change *c);

/* Copy into k, with memory of `a`. 0 or MG_ENOMEM. */
int mg_kept_save(struct mg_exchange *x, struct mg_kept *k, struct mg_arena *a);
/* Any number of times. A response that came in the place of the kept one stays. */
void mg_kept_put_back(struct mg_exchange *x, const struct mg_kept *k);
/* Call `told` for each difference between k and x as it is now. Allocates only to join fields (from x->arena; over budget
 * the first value stands for all). */
void mg_kept_changes(struct mg_exchange *x, const struct mg_kept *k, mg_change_fn *told, void *arg);
/* "request header", "path"… for a person; "request.header" for a program. */
const char *mg_changed_words(int what);
const char *mg_changed_key(int what);

#endif
