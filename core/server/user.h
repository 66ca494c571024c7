/* user.h - becoming the user that the config names, once what needs root is done. All threads at once. */
#ifndef MG_SERVER_USER_H
#define MG_SERVER_USER_H

#include "base/error.h"
#include "base/str.h"

/* Empty names: no change. A user without a group takes the user's own. 0 or MG_ECONF, UV_EPERM with err. */
int mg_user_become(struct mg_str user, struct mg_str group, struct mg_error *err);

#endif
