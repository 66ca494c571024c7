/* ask.h - one HTTP/1.1 request over a connection of its own, for commands that ask a gateway. Blocking. */
#ifndef MG_CLI_ASK_H
#define MG_CLI_ASK_H

#include "base/str.h"
#include "cli/cli.h"

struct mg_asked {
    int status;
    char *text;             /* head and body as they came, from malloc; the caller frees */
    struct mg_str head;     /* with the last field's line end */
    struct mg_str body;     /* without its chunks' frames */
};

/* The address of the config's admin listener, from malloc. NULL: told why. */
char *mg_cli_admin(const struct mg_command *about, const char *config);
/* The gateway that --admin names, or else --config, from malloc. NULL: told why, and exit_code set; `options` are those that name one. */
char *mg_cli_gateway(struct mg_cli *cli, const struct mg_command *about, const char *options);
/* Send the request (which says connection: close) to "127.0.0.1:9901", "[::1]:80", "name:80" or "unix:/path" and read to the end. server_name: TLS is
 * spoken, and the certificate checked for it unless `insecure`; NULL: plain. 0 or MG_EXIT_FAILED (told why). */
int mg_cli_ask(const struct mg_command *about, const char *address, const char *server_name, bool insecure, struct mg_str request, struct mg_asked *out);
/* GET of a path from an admin listener. */
int mg_cli_get(const struct mg_command *about, const char *address, const char *path, struct mg_asked *out);
/* A field of the head; p NULL when absent. */
struct mg_str mg_cli_field(const struct mg_asked *a, const char *name);

#endif
