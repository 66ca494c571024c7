/* balance.c - which target is next: smooth weighted round robin.
 *
 * Each target gains its weight; the one with the most is taken and pays the sum of all weights. With weights
 * 5, 1, 1 the order is a a b a c a a: in proportion, and spread out. */
#include "upstream/parts.h"

uint32_t mg_balance_next(struct mg_group *g)
{
    uint32_t best = 0;

    if (g->entries_n == 1)
        return 0;
    for (uint32_t i = 0; i < g->entries_n; i++) {
        g->entries[i].current += g->entries[i].weight;
        if (g->entries[i].current > g->entries[best].current)
            best = i;
    }
    g->entries[best].current -= (int)g->weights;
    return best;
}
