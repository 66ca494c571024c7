#include "server/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/sink.h"

static int refused(struct mg_error *err, const char *what, const char *name)
{
    return mg_fail(err, -errno, "cannot become %s %s: %s", what, name, strerror(errno));
}

int mg_user_become(struct mg_str user, struct mg_str group, struct mg_error *err)
{
    const struct passwd *u = NULL;
    const struct group *g = NULL;
    char user_name[64], group_name[64];
    int death_signal = 0;
    gid_t gid;

    snprintf(user_name, sizeof user_name, "%.*s", (int)user.n, user.p ? user.p : "");
    snprintf(group_name, sizeof group_name, "%.*s", (int)group.n, group.p ? group.p : "");
    if (!user.n && !group.n)
        return 0;
    if (user.n && !(u = getpwnam(user_name)))
        return mg_fail(err, MG_ECONF, "user: there is no user %s", user_name);
    if (group.n && !(g = getgrnam(group_name)))
        return mg_fail(err, MG_ECONF, "group: there is no group %s", group_name);
    gid = g ? g->gr_gid : u->pw_gid;
    if ((!u || geteuid() == u->pw_uid) && getegid() == gid)
        return 0;
    if (u)
        mg_sink_give_all(u->pw_uid, gid);
    prctl(PR_GET_PDEATHSIG, &death_signal);
    if (u ? initgroups(user_name, gid) != 0 : setgroups(1, &gid) != 0)
        return refused(err, "a member of", u ? user_name : group_name);
    if (setgid(gid) != 0)
        return refused(err, "group", group.n ? group_name : user_name);
    if (u && setuid(u->pw_uid) != 0)
        return refused(err, "user", user_name);
    prctl(PR_SET_PDEATHSIG, death_signal); /* the kernel forgets it when credentials change */
    return 0;
}
