/* listeners.h - one worker's listening sockets, kept over reloads.
 *
 * Each is known by its key (the address in canonical form); a reload changes what its connections are
 * served by, not the socket. When the process is short of file descriptors, accepting pauses until some are
 * free, and connections wait in the kernel's queue. Closing takes what is queued first. Worker thread. */
#ifndef MG_SERVER_LISTENERS_H
#define MG_SERVER_LISTENERS_H

#include "proxy/snapshot.h"

struct mg_listeners {
    struct mg_list all;          /* of struct mg_listening */
    struct mg_worker *worker;
    uv_timer_t pressure;         /* looks whether descriptors are free again */
    uv_timer_t closer;
    bool under_pressure, pressure_logged;
    int64_t pressure_since_ms;
    int fd_limit, fd_reserve;
    size_t closing_n;
    void (*on_closed)(struct mg_listeners *l, void *arg); /* all that were closing are */
    void *on_closed_arg;
};

int mg_listeners_init(struct mg_listeners *l, struct mg_worker *w);
/* Nothing may be open or closing any more. Its handles close with the loop's next turn. */
void mg_listeners_deinit(struct mg_listeners *l);
/* number: which of the address's sockets. */
bool mg_listeners_has(const struct mg_listeners *l, const char *key, int number);
/* Take a bound socket (owned, also on failure) and accept on it under `conf`. */
int mg_listeners_open(struct mg_listeners *l, const char *key, int number, const struct mg_listener_conf *conf, int fd);
/* Another worker serves it (with a duplicate) from now on. Closed here soon after the next mg_listeners_close. */
void mg_listeners_release(struct mg_listeners *l, const char *key, int number);
/* Another process serves them all, with sockets of its own. */
void mg_listeners_release_all(struct mg_listeners *l);
/* From now on by this conf; NULL: close them gently. */
void mg_listeners_rebind(struct mg_listeners *l, const char *key, const struct mg_listener_conf *conf);
/* Close those that `keep` refuses (NULL: all): their queue is taken first. done follows, never inside the call. */
void mg_listeners_close(struct mg_listeners *l, bool (*keep)(const char *key, void *arg), void *arg,
                        void (*done)(struct mg_listeners *l, void *arg), void *done_arg);

#endif
