/* value.h - a configuration as plain data: the tree that a Lua config file returned.
 *
 * Nodes live in one arena. A table keeps its array part and its named entries (sorted by key, so
 * that every walk of the same config meets the same order). Functions are numbered by their place.
 * File and line of a node are known only after a second, instrumented run (config.h). */
#ifndef MG_CONFIG_VALUE_H
#define MG_CONFIG_VALUE_H

#include "base/arena.h"

enum mg_value_kind { MG_V_NIL, MG_V_BOOL, MG_V_NUMBER, MG_V_STRING, MG_V_TABLE, MG_V_FUNCTION };

struct mg_value;
struct mg_member { struct mg_str key; struct mg_value *value; };

struct mg_value {
    uint8_t kind;
    bool boolean;
    int32_t function;           /* its number: places in walking order, from 0 */
    double number;
    struct mg_str text;
    struct mg_value **items;    /* array part, from index 1 of Lua */
    size_t items_n;
    struct mg_member *members;  /* sorted */
    size_t members_n;
    struct mg_str file;         /* "" and 0 when not known */
    int line;
    struct mg_value *parent;    /* for paths in messages */
    struct mg_str key;          /* under which the parent has it; "" for items */
    int index;                  /* 1-based place in the parent's array part; 0 for members */
    uint32_t serial;            /* its number in walking order, from 0; of nodes made later: MG_NO_SERIAL */
    uint32_t members_room;
};
enum { MG_NO_SERIAL = -1 };

struct mg_value *mg_value_get(const struct mg_value *table, const char *key); /* NULL when absent */
struct mg_value *mg_value_at(const struct mg_value *table, size_t i);         /* from 0 */
/* A fresh node that belongs to nobody; NULL when out of memory. */
struct mg_value *mg_value_new(struct mg_arena *a, enum mg_value_kind kind);
/* Give a table a member (borrowed key), in order; replaces one of that key. Places the node: parent and key. 0 or MG_ENOMEM. */
int mg_value_put(struct mg_value *table, struct mg_str key, struct mg_value *v, struct mg_arena *a);
/* See to it that `extra` more members fit without moving. */
int mg_value_reserve(struct mg_value *table, size_t extra, struct mg_arena *a);
/* Take a member out; NULL when absent. */
struct mg_value *mg_value_remove(struct mg_value *table, const char *key);
/* "text", "a number", "a table"… for messages. */
const char *mg_value_kind_name(const struct mg_value *v);
/* "routes.users.plugins[1].limit": routes go by their id where they have one. */
struct mg_str mg_value_path(const struct mg_value *v, struct mg_arena *a);
/* As JSON text; functions become null. secrets: the fields table's secret ones are the caller's to mask. */
struct mg_str mg_value_json(const struct mg_value *v, struct mg_arena *a);

#endif
