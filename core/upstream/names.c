/* names.c - host names that specs mention, and the last good answer for each. */
#include "upstream/parts.h"

#include <stdio.h>
#include <stdlib.h>

struct mg_name *mg_name_of(struct mg_str host, int port)
{
    struct mg_name *name;
    char *key;
    int n = asprintf(&key, "%.*s:%d", (int)host.n, host.p, port);

    if (n < 0)
        return NULL;
    name = mg_map_get(&mg_live.names, mg_str(key, (size_t)n));
    if (name) {
        name->refs++;
        free(key);
        return name;
    }
    name = mg_calloc(1, sizeof *name);
    if (name) {
        name->refs = 1;
        name->key = mg_str(key, (size_t)n);
        name->host = mg_str(key, host.n);
        name->port = port;
        if (mg_map_put(&mg_live.names, name->key, name, NULL) == 0)
            return name;
    }
    mg_free(name);
    free(key);
    return NULL;
}

void mg_name_unref(struct mg_name *name)
{
    if (!name || --name->refs > 0)
        return;
    mg_table_forget(&mg_live.names, name->key);
    mg_free(name->addresses);
    free((char *)name->key.p);
    mg_free(name);
}

void mg_names_each(void (*fn)(void *arg, const struct mg_name *name), void *arg)
{
    size_t i = 0;
    struct mg_str key;
    void *name;

    pthread_mutex_lock(&mg_live.lock);
    while (mg_map_next(&mg_live.names, &i, &key, &name))
        fn(arg, name);
    pthread_mutex_unlock(&mg_live.lock);
}

bool mg_names_settled(void)
{
    size_t i = 0;
    struct mg_str key;
    void *name;
    bool settled = true;

    pthread_mutex_lock(&mg_live.lock);
    while (settled && mg_map_next(&mg_live.names, &i, &key, &name))
        settled = ((struct mg_name *)name)->is_settled;
    pthread_mutex_unlock(&mg_live.lock);
    return settled;
}

static bool same_addresses(const struct mg_name *name, const struct mg_address *addrs, size_t n)
{
    if (name->addresses_n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;

        /* Servers turn the order with each answer. */
        while (k < n && memcmp(&name->addresses[k].sa, &addrs[i].sa, mg_sockaddr_bytes(&addrs[i].sa)) != 0)
            k++;
        if (k == n)
            return false;
    }
    return true;
}

static int keep_addresses(struct mg_name *name, const struct mg_address *addrs, size_t n)
{
    struct mg_address *kept = mg_malloc(n * sizeof *kept);

    if (!kept)
        return MG_ENOMEM;
    memcpy(kept, addrs, n * sizeof *kept);
    mg_free(name->addresses);
    name->addresses = kept;
    name->addresses_n = n;
    return 0;
}

int mg_name_answer(struct mg_str key, int status, const struct mg_address *addrs, size_t n)
{
    struct mg_name *name;
    bool changed = false;
    int rc = 0;

    pthread_mutex_lock(&mg_live.lock);
    name = mg_map_get(&mg_live.names, key);
    if (name) {
        changed = !name->is_settled || name->is_stale;
        name->status = status;
        if (status == 0 && n && !same_addresses(name, addrs, n)) {
            rc = keep_addresses(name, addrs, n);
            changed = true;
        }
        name->is_settled = true;
        if (rc == 0 && changed)
            rc = mg_upstream_publish_with(name);
        name->is_stale = rc < 0;
    }
    pthread_mutex_unlock(&mg_live.lock);
    return rc;
}
