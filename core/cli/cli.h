/* cli.h - the command line: a table of commands, each with its own help.
 *
 * Exit codes: 0 done; 1 it did not hold or did not work (the reason is on stderr); 2 the command line makes no sense. */
#ifndef MG_CLI_CLI_H
#define MG_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

enum { MG_EXIT_OK = 0, MG_EXIT_FAILED = 1, MG_EXIT_USAGE = 2 };

/* argv[0] is the command's name. */
int mg_cmd_run(int argc, char **argv);
int mg_cmd_reload(int argc, char **argv);
int mg_cmd_release(int argc, char **argv);
int mg_cmd_echo(int argc, char **argv);
int mg_cmd_version(int argc, char **argv);
int mg_cmd_trace(int argc, char **argv);
int mg_cmd_record(int argc, char **argv);
int mg_cmd_replay(int argc, char **argv);
int mg_cmd_diff(int argc, char **argv);
int mg_cmd_test(int argc, char **argv);
int mg_cmd_new(int argc, char **argv);
int mg_cmd_repl(int argc, char **argv);
int mg_cmd_check(int argc, char **argv);
int mg_cmd_routes(int argc, char **argv);
int mg_cmd_explain(int argc, char **argv);
int mg_cmd_plugins(int argc, char **argv);

/* One option of a command, in a table that ends with an empty name.
 *
 *     static const struct mg_option options[] = {
 *         { "config", 'c', "FILE", "the config file" },
 *         { "verbose", 'v', NULL, "say more" },
 *         { 0 }
 *     };
 *     struct mg_cli cli;
 *     if (mg_cli_parse(&cli, &about, argc, argv)) return cli.exit_code;    // --help was answered, or a mistake told
 *     path = mg_cli_text(&cli, "config");
 */
struct mg_option {
    const char *name;
    char letter;          /* 0: none */
    const char *value;    /* its name in the help; NULL: a flag */
    const char *doc;
    bool many;            /* may be given more than once */
};
struct mg_command {
    const char *name;
    const char *usage;    /* "run -c FILE [options]" */
    const char *doc;      /* one line, then more if need be */
    const struct mg_option *options;
    int rest_min, rest_max; /* how many words after the options; max -1: any number */
};
enum { MG_CLI_VALUES = 64 };
struct mg_cli {
    const struct mg_command *command;
    const char *values[MG_CLI_VALUES];  /* what was given, in order; "" for flags */
    const struct mg_option *given[MG_CLI_VALUES];
    int given_n;
    char **rest;
    int rest_n;
    int exit_code;
};
/* True when the command is over: cli->exit_code says how. Options may stand after words; "--" ends them. */
bool mg_cli_parse(struct mg_cli *cli, const struct mg_command *command, int argc, char **argv);
/* The last value given; NULL when absent. */
const char *mg_cli_text(const struct mg_cli *cli, const char *name);
bool mg_cli_flag(const struct mg_cli *cli, const char *name);
/* The i-th value of an option that may be given more than once; NULL past the end. */
const char *mg_cli_text_at(const struct mg_cli *cli, const char *name, int i);
/* A whole number within a range; `preset` when absent. False (and the mistake told, exit_code set) when it is none. */
bool mg_cli_number(struct mg_cli *cli, const char *name, long min, long max, long preset, long *out);
/* "moongate run: …" on stderr. Returns MG_EXIT_FAILED, so that callers write `return mg_cli_fail(…)`. */
int mg_cli_fail(const struct mg_command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Escape sequences for a stream that is a terminal (and NO_COLOR is not set), else "". */
enum mg_colour { MG_PLAIN = 0, MG_BOLD, MG_RED, MG_GREEN, MG_YELLOW, MG_DIM };
const char *mg_cli_colour(int fd, enum mg_colour colour);

#endif
