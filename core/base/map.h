/* map.h - strings to pointers: an open-addressing hash table. Keys are borrowed (they must outlive
 * the entry); values are the caller's. Not shared between threads while it changes. */
#ifndef MG_BASE_MAP_H
#define MG_BASE_MAP_H

#include "base/str.h"

struct mg_map_slot { uint64_t hash; struct mg_str key; void *value; };
struct mg_map { struct mg_map_slot *slots; size_t size, used, dead; }; /* all zero is an empty map */

void mg_map_deinit(struct mg_map *m);
void *mg_map_get(const struct mg_map *m, struct mg_str key); /* NULL when absent */
/* Value must not be NULL. Replaces (*old gets the former value when old is not NULL). 0 or MG_ENOMEM. */
int mg_map_put(struct mg_map *m, struct mg_str key, void *value, void **old);
void *mg_map_remove(struct mg_map *m, struct mg_str key);
/* Walk: i starts at 0; false at the end. Removing while walking is fine, adding is not. */
bool mg_map_next(const struct mg_map *m, size_t *i, struct mg_str *key, void **value);

#endif
