/* notify.h - tells systemd how the service is (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Does nothing without one. */
#ifndef MG_SERVER_NOTIFY_H
#define MG_SERVER_NOTIFY_H

#include "server/binder.h"

void mg_notify(enum mg_note note);

#endif
