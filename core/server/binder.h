/* binder.h - how the gateway process gets its listening sockets, and says how it is.
 *
 * With a supervisor these are questions over a socket pair, answered at once, with sockets as SCM_RIGHTS; without one,
 * calls into a table of this process. Either way the sockets got are the caller's to close.
 * Any thread; a call takes as long as a bind. */
#ifndef MG_SERVER_BINDER_H
#define MG_SERVER_BINDER_H

#include "server/quarantine.h"
#include "server/sockets.h"

/* The first three are for the service manager too. */
enum mg_note {
    MG_NOTE_READY = 1, MG_NOTE_RELOADING = 2, MG_NOTE_STOPPING = 3,
    MG_NOTE_RULES,      /* what the config in force says of crashes */
    MG_NOTE_STALLED,    /* a worker does not come back: start a successor; blame says whose fault it is */
    MG_NOTE_RELEASED,   /* out of quarantine: blame says who */
};
struct mg_word {
    enum mg_note note;  /* 0: none */
    struct mg_blame blame;
    struct mg_quarantine_rules rules;
};

struct mg_binder;
struct mg_binder *mg_binder_local(void);
struct mg_binder *mg_binder_remote(int fd); /* takes the fd */
void mg_binder_free(struct mg_binder *b);

/* At least ask->count sockets of an address. How many, or < 0 with err. */
int mg_binder_listen(struct mg_binder *b, const struct mg_bind_ask *ask, int *fds, int room, struct mg_error *err);
/* The address is no longer served: close what is kept of it. */
void mg_binder_drop(struct mg_binder *b, const char *key);
/* For the service manager, and the supervisor's back-off. */
void mg_binder_note(struct mg_binder *b, enum mg_note note);
/* The same with what belongs to it. Without a supervisor nobody listens. */
void mg_binder_tell(struct mg_binder *b, const struct mg_word *word);

/* The supervisor's side: answer one question that stands in the socket. 0, or < 0 when the other side is gone. word gets what was told,
 * if anything. is_leaving: from a process that has a successor: the sockets are no longer its to open or drop. */
int mg_binder_serve(int fd, struct mg_sockets *table, bool is_leaving, struct mg_word *word);

#endif
