/* build.h - from a config file to a snapshot: everything checked, everything made, or every mistake told.
 *
 * Opens no socket and starts nothing: server/reload.c does, once the whole snapshot stands. Builder thread. */
#ifndef MG_SERVER_BUILD_H
#define MG_SERVER_BUILD_H

#include "proxy/snapshot.h"
#include "server/binder.h"

struct mg_build {
    const char *path;       /* of the config */
    int workers;            /* 0: as the config says, else in its place: snapshot->workers */
    uint64_t number;
    int slot;
    struct mg_quarantine *quarantine; /* entries that are out are replaced; NULL: none is */
    struct mg_binder *binder;         /* who hears when one comes back; NULL: nobody */
    /* Out. */
    struct mg_snapshot *snapshot; /* the caller's: mg_snapshot_free */
    char *mistakes;         /* malloc'ed, one line each ("gateway.lua:41: routes.users…"), NULL when there are none */
    size_t mistakes_n;
};

/* Run the config, check it, make the whole snapshot: upstreams attached, instances created, scripts loaded (their VMs for the
 * workers are opened by the caller, mg_script_open). 0, or MG_ECONF with mistakes, or MG_ENOMEM. */
int mg_snapshot_build(struct mg_build *b);
/* Destroy instances, detach upstreams, close VMs. Nobody may use it any more. Builder thread (or any, when alone). */
void mg_snapshot_free(struct mg_snapshot *s);

#endif
