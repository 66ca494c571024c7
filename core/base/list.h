/* list.h - an intrusive doubly linked list with a head that is a node like the others. */
#ifndef MG_BASE_LIST_H
#define MG_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct mg_list { struct mg_list *next, *prev; };

#define mg_container(node, type, member) ((type *)((char *)(node) - offsetof(type, member)))
#define mg_list_each(node, head) \
    for (struct mg_list *node = (head)->next, *node##_next = node->next; node != (head); node = node##_next, node##_next = node->next)

static inline void mg_list_init(struct mg_list *l) { l->next = l->prev = l; }
static inline bool mg_list_empty(const struct mg_list *l) { return l->next == l; }
static inline void mg_list_insert(struct mg_list *after, struct mg_list *n)
{
    n->next = after->next; n->prev = after; after->next->prev = n; after->next = n;
}
static inline void mg_list_push(struct mg_list *head, struct mg_list *n) { mg_list_insert(head->prev, n); } /* last */
static inline void mg_list_unshift(struct mg_list *head, struct mg_list *n) { mg_list_insert(head, n); }    /* first */
/* Take out; harmless for a node that was only initialised. */
static inline void mg_list_remove(struct mg_list *n)
{
    n->prev->next = n->next; n->next->prev = n->prev; n->next = n->prev = n;
}
static inline struct mg_list *mg_list_first(struct mg_list *head) { return mg_list_empty(head) ? NULL : head->next; }

#endif
