#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *mg_cli_colour(int fd, enum mg_colour colour)
{
    static const char *const codes[] = { "\033[0m", "\033[1m", "\033[31m", "\033[32m", "\033[33m", "\033[2m" };
    const char *no = getenv("NO_COLOR");

    if (!isatty(fd) || (no && *no))
        return "";
    return codes[colour];
}

int mg_cli_fail(const struct mg_command *command, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%smoongate %s:%s ", mg_cli_colour(STDERR_FILENO, MG_RED), command->name,
            mg_cli_colour(STDERR_FILENO, MG_PLAIN));
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return MG_EXIT_FAILED;
}

static bool misused(struct mg_cli *cli, const char *what, const char *word)
{
    mg_cli_fail(cli->command, "%s%s (try moongate %s --help)", what, word, cli->command->name);
    cli->exit_code = MG_EXIT_USAGE;
    return true;
}

static void print_option(const struct mg_option *o)
{
    char left[64];

    snprintf(left, sizeof left, "%s%c%s --%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ', o->letter ? "," : " ",
             o->name, o->value ? " " : "", o->value ? o->value : "");
    printf("  %-26s %s\n", left, o->doc);
}

static bool help(struct mg_cli *cli)
{
    const struct mg_command *c = cli->command;

    printf("usage: moongate %s\n\n%s\n\noptions:\n", c->usage, c->doc);
    for (const struct mg_option *o = c->options; o && o->name; o++)
        print_option(o);
    print_option(&(struct mg_option){ .name = "help", .letter = 'h', .doc = "show this" });
    cli->exit_code = MG_EXIT_OK;
    return true;
}

static const struct mg_option *find_long(const struct mg_command *c, const char *name, size_t n)
{
    for (const struct mg_option *o = c->options; o && o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

static const struct mg_option *find_letter(const struct mg_command *c, char letter)
{
    for (const struct mg_option *o = c->options; o && o->name; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

static bool keep(struct mg_cli *cli, const struct mg_option *o, const char *value)
{
    if (!o->many && mg_cli_flag(cli, o->name))
        return misused(cli, "given twice: --", o->name);
    if (cli->given_n == MG_CLI_VALUES)
        return misused(cli, "too many options", "");
    cli->given[cli->given_n] = o;
    cli->values[cli->given_n++] = value;
    return false;
}

/* argv[*i] begins with '-'. True when the command is over. */
static bool take_option(struct mg_cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *value = NULL;
    const struct mg_option *o;

    if (word[1] == '-') {
        const char *equals = strchr(word, '=');

        o = find_long(cli->command, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
        value = equals ? equals + 1 : NULL;
    } else {
        o = find_letter(cli->command, word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (!o)
        return misused(cli, "unknown option ", word);
    if (!o->value)
        return value ? misused(cli, "takes no value: --", o->name) : keep(cli, o, "");
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value)
        return misused(cli, "needs a value: --", o->name);
    return keep(cli, o, value);
}

bool mg_cli_parse(struct mg_cli *cli, const struct mg_command *command, int argc, char **argv)
{
    int i;

    memset(cli, 0, sizeof *cli);
    cli->command = command;
    cli->rest = argv + 1; /* words are moved together at the front */
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(cli);
        if (argv[i][0] != '-' || !argv[i][1])
            cli->rest[cli->rest_n++] = argv[i];
        else if (take_option(cli, argc, argv, &i))
            return true;
    }
    for (; i < argc; i++)
        cli->rest[cli->rest_n++] = argv[i];
    if (cli->rest_n < command->rest_min)
        return misused(cli, "too few words", "");
    if (command->rest_max >= 0 && cli->rest_n > command->rest_max)
        return misused(cli, "unexpected: ", cli->rest[command->rest_max]);
    return false;
}

const char *mg_cli_text_at(const struct mg_cli *cli, const char *name, int i)
{
    for (int k = 0; k < cli->given_n; k++)
        if (strcmp(cli->given[k]->name, name) == 0 && i-- == 0)
            return cli->values[k];
    return NULL;
}

const char *mg_cli_text(const struct mg_cli *cli, const char *name)
{
    const char *found = NULL;

    for (int k = 0; k < cli->given_n; k++)
        if (strcmp(cli->given[k]->name, name) == 0)
            found = cli->values[k];
    return found;
}

bool mg_cli_flag(const struct mg_cli *cli, const char *name)
{
    return mg_cli_text(cli, name) != NULL;
}

bool mg_cli_number(struct mg_cli *cli, const char *name, long min, long max, long preset, long *out)
{
    const char *text = mg_cli_text(cli, name);
    char *end;

    *out = preset;
    if (!text)
        return true;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (*text && !*end && errno == 0 && *out >= min && *out <= max)
        return true;
    mg_cli_fail(cli->command, "--%s: a number from %ld to %ld is expected, not \"%s\"", name, min, max, text);
    cli->exit_code = MG_EXIT_USAGE;
    return false;
}
