/* facts.c - does a chain make sense? What an entry needs, an earlier one must provide for sure. */
#include "plugin/chain.h"

#include <stdio.h>

static bool lists(const char *const *facts, const char *fact)
{
    for (; facts && *facts; facts++)
        if (!strcmp(*facts, fact))
            return true;
    return false;
}

static const char *const *provides(const struct mg_chain_entry *e)
{
    return mg_plugin_provides(e->plugin, e->info.conf);
}

/* Why an entry's word cannot be relied on; NULL when it can. */
static const char *doubt(const struct mg_chain_entry *e)
{
    if (e->when >= 0)
        return "runs only when its `when` says so";
    if (e->observe)
        return "only observes";
    if (e->continue_on_error)
        return "may fail and be skipped (on_error = \"continue\")";
    return NULL;
}

static void explain(struct mg_chain_entry **entries, int n, int i, const char *fact, char *out, size_t room)
{
    const char *name = entries[i]->plugin->name;

    for (int k = 0; k < n; k++) {
        const struct mg_chain_entry *e = entries[k];

        if (k == i || !lists(provides(e), fact))
            continue;
        snprintf(out, room, "%s needs \"%s\" from an entry before it; %s provides it, but %s", name, fact, e->plugin->name,
                 k > i ? "stands after it" : doubt(e));
        return;
    }
    snprintf(out, room, "%s needs \"%s\", and no entry of this chain provides it", name, fact);
}

void mg_chain_check_facts(struct mg_chain_entry **entries, int n, void (*mistake)(void *arg, int entry, const char *message), void *arg)
{
    char message[256];

    for (int i = 0; i < n; i++) {
        const char *const *need = mg_plugin_needs(entries[i]->plugin, entries[i]->info.conf);

        for (; need && *need; need++) {
            bool met = false;

            for (int k = 0; k < i && !met; k++)
                met = lists(provides(entries[k]), *need) && !doubt(entries[k]);
            if (met)
                continue;
            explain(entries, n, i, *need, message, sizeof message);
            mistake(arg, i, message);
        }
    }
}
