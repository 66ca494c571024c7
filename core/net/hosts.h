/* hosts.h - the hosts file: names that need no DNS (hosts(5)).
 *
 * Read anew when its time or size has changed. Same thread as the resolver; a small local file, so it is
 * simply read. */
#ifndef MG_NET_HOSTS_H
#define MG_NET_HOSTS_H

#include "net/resolver.h"
#include <time.h>

struct mg_hosts {
    const char *path;      /* borrowed */
    char *text;            /* the whole file */
    size_t n;
    struct timespec changed;
};

enum { MG_HOSTS_BYTES_MAX = 4 << 20 };

/* Up to `max` addresses of `name` (case does not matter), IPv4 first; 0 when it is not there. */
size_t mg_hosts_find(struct mg_hosts *h, struct mg_str name, int port, struct mg_address *out, size_t max);
void mg_hosts_deinit(struct mg_hosts *h);

#endif
