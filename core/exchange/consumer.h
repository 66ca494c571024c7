/* consumer.h - who may call: consumers and the credentials that prove them, as the config declares them.
 *
 * Immutable, part of the snapshot. A credential is found by (kind, key) in one hash table, keyed with SipHash under a random key,
 * and compared in constant time. */
#ifndef MG_EXCHANGE_CONSUMER_H
#define MG_EXCHANGE_CONSUMER_H

#include "base/arena.h"
#include "base/error.h"

struct mg_pair { struct mg_str name, value; };

struct mg_consumer {
    struct mg_str name;
    const struct mg_str *groups;
    size_t groups_n;
    const struct mg_pair *metadata;    /* values as text */
    size_t metadata_n;
};
struct mg_credential {
    const struct mg_consumer *consumer;
    struct mg_str kind, key, id;       /* id: given, or a short digest of the key */
    const void *conf;                  /* the plugin's struct, or NULL (Lua plugins) */
    const struct mg_pair *fields;      /* every scalar field as text */
    size_t fields_n;
    int number;
};
struct mg_consumers;

/* Built by the builder: add all, then seal. Memory is the arena's. */
struct mg_consumers *mg_consumers_new(struct mg_arena *a);
int mg_consumers_add(struct mg_consumers *c, const struct mg_consumer *consumer); /* copied shallowly; gives MG_EINVAL when the name exists */
/* MG_EINVAL when (kind, key) exists already: err names the other consumer. consumer: the name of one added before. */
int mg_consumers_add_credential(struct mg_consumers *c, struct mg_str consumer, struct mg_credential *cred, struct mg_error *err);
/* Credentials of that kind are found by what is no secret (a user's name, a key's id). Copied. */
int mg_consumers_open_kind(struct mg_consumers *c, struct mg_str kind);
bool mg_consumers_kind_is_open(const struct mg_consumers *c, struct mg_str kind);
int mg_consumers_seal(struct mg_consumers *c);
const struct mg_consumer *mg_consumers_find(const struct mg_consumers *c, struct mg_str name);
const struct mg_credential *mg_consumers_credential(const struct mg_consumers *c, struct mg_str kind, struct mg_str key);
const struct mg_credential *mg_consumers_number(const struct mg_consumers *c, int number);

#endif
