/* A body translated on its way, a piece at a time, by a plugin that may wait at each. */
#include <moongate/plugin.h>
#include <ctype.h>
#include <stdlib.h>

/* Its own memory in this exchange. */
struct mine { bool started; int room; }; /* room: the operation that waits for a slower reader */

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    (void)self;
    (void)local;
    mg_body_decode(x, MG_REQUEST, 0);
    if (mg_body_pull(x, MG_REQUEST) < 0 || mg_body_stream(x, MG_REQUEST) < 0)
        return MG_ERROR;
    return MG_CONTINUE; /* on_wake is called when the upstream wants the first bytes */
}

static int write_upper(struct mg_x *x)
{
    struct mg_str piece;
    char *upper;

    mg_body_next_get(x, MG_REQUEST, &piece);
    upper = malloc(piece.n + 1);
    if (!upper)
        return MG_ENOMEM;
    for (size_t i = 0; i < piece.n; i++)
        upper[i] = (char)toupper((unsigned char)piece.p[i]);
    int rc = mg_body_write(x, MG_REQUEST, upper, piece.n); /* copied */
    free(upper);
    return rc;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct mine *m = mg_x_local(x, sizeof *m);
    int rc = 0;

    (void)self;
    (void)local;
    if (!m || status < 0)
        return MG_ERROR; /* the client broke off: nothing looks whole */
    if (status > 0)
        rc = write_upper(x);
    else if (m->started && op != m->room)
        return mg_body_finish(x, MG_REQUEST, 0) ? MG_ERROR : MG_CONTINUE;
    m->started = true;
    if (rc < 0)
        return MG_ERROR;
    m->room = rc == 1 ? mg_body_room(x, MG_REQUEST) : 0;
    return m->room > 0 || mg_body_next(x, MG_REQUEST) > 0 ? MG_WAIT : MG_ERROR;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "upper", .version = "1",
    .doc = "Sends request bodies on in capitals.", .on_request = on_request, .on_wake = on_wake,
};
