/* load.c - a config for the commands that only look at it. */
#include "cli/load.h"
#include "base/sink.h"

#include <stdlib.h>
#include <unistd.h>

void mg_cli_print(FILE *out, struct mg_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        fputc((c < ' ' && c != '\n' && c != '\t') || c == 0x7f ? '?' : c, out);
    }
}

/* "file:line:" in bold, the rest plain. */
static void print_mistakes(const char *text)
{
    const char *bold = mg_cli_colour(STDERR_FILENO, MG_BOLD), *plain = mg_cli_colour(STDERR_FILENO, MG_PLAIN);

    while (text && *text) {
        const char *end = strchr(text, '\n');
        size_t n = end ? (size_t)(end - text) : strlen(text);
        const char *space = memchr(text, ' ', n);
        size_t head = space ? (size_t)(space - text) : 0;

        fputs(bold, stderr);
        mg_cli_print(stderr, mg_str(text, head));
        fputs(plain, stderr);
        mg_cli_print(stderr, mg_str(text + head, n - head));
        fputc('\n', stderr);
        text = end ? end + 1 : NULL;
    }
}

struct mg_snapshot *mg_cli_load(const struct mg_command *command, const char *path)
{
    struct mg_build build = { .path = path, .number = 1 };
    struct mg_error err = { 0 };

    mg_sink_look_only();
    if (mg_snapshot_build(&build) != 0) {
        print_mistakes(build.mistakes ? build.mistakes : "out of memory\n");
        if (build.mistakes_n > 1)
            fprintf(stderr, "moongate %s: %zu mistakes\n", command->name, build.mistakes_n);
        free(build.mistakes);
        return NULL;
    }
    /* A worker's VM runs the config again: does it give the same? */
    if (build.snapshot->script && mg_script_open(build.snapshot->script, 0, &err) != 0) {
        mg_cli_fail(command, "%s", err.message);
        mg_snapshot_free(build.snapshot);
        return NULL;
    }
    return build.snapshot;
}

struct mg_snapshot *mg_cli_begin(struct mg_cli *cli, const struct mg_command *command, int argc, char **argv)
{
    struct mg_snapshot *s;
    const char *path;

    if (mg_cli_parse(cli, command, argc, argv))
        return NULL;
    path = mg_cli_text(cli, "config");
    if (!path) {
        mg_cli_fail(command, "which config? -c FILE");
        cli->exit_code = MG_EXIT_USAGE;
        return NULL;
    }
    s = mg_cli_load(command, path);
    if (!s)
        cli->exit_code = MG_EXIT_FAILED;
    return s;
}
