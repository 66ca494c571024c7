#include "server/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static size_t message_of(enum mg_note note, char *out, size_t room)
{
    struct timespec now;

    if (note == MG_NOTE_READY)
        return (size_t)snprintf(out, room, "READY=1\nSTATUS=serving");
    if (note == MG_NOTE_STOPPING)
        return (size_t)snprintf(out, room, "STOPPING=1\nSTATUS=draining");
    /* Type=notify-reload wants the time of the reload's start, to tell it from an earlier one. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (size_t)snprintf(out, room, "RELOADING=1\nMONOTONIC_USEC=%lld",
                            (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void mg_notify(enum mg_note note)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    char text[128];
    size_t path_n = path ? strlen(path) : 0, n = message_of(note, text, sizeof text);
    int fd;

    if (path_n < 2 || path_n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, path_n);
    if (path[0] == '@') /* the abstract name space */
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, text, n, MSG_NOSIGNAL, (struct sockaddr *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_n));
    close(fd);
}
