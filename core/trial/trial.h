/* trial.h - specs of plugins: the real chain, the real PDK, an exchange that has no sockets.
 *
 * `moongate test` runs Lua files that describe behaviour (require "moongate.test"; docs/plugins-lua.md). Each call
 * of test.exchange makes a request by hand, runs a chain over it, lets a function of the spec play the upstream, and gives back
 * what client and upstream would have seen. Time is simulated: a sleep takes none. Scripts and functions run in the spec's own
 * VM; C plugins are loaded as the gateway loads them.
 *
 * A room of its own, beside the admin API and the command line: it stands in place of connections, and has the chain and the
 * consumers of a spec made by the server's build parts, so that they are checked as a config's are. spec.c finds and runs the
 * files, sim.c is the exchange's life in short, config.c what is made for it. */
#ifndef MG_TRIAL_TRIAL_H
#define MG_TRIAL_TRIAL_H

#include <stdbool.h>
#include <stddef.h>

struct mg_trial_options {
    const char *const *paths;    /* spec files, and folders: files named *_spec.lua in them, at any depth */
    size_t paths_n;
    const char *const *folders;  /* with plugins: searched before those beside the spec and the bundled ones */
    size_t folders_n;
    const char *filter;          /* run the tests whose full name has this, whatever the case; NULL: all */
    bool verbose;                /* tell of each test */
};

/* Run them. Results go to stdout. Returns how many tests failed; < 0 when nothing could run. */
int mg_trial_run(const struct mg_trial_options *options);

/* A Lua prompt inside a simulated exchange, on stdin and stdout. config, request ("GET http://host/path"): may be NULL. 0, or -1 when it
 * could not begin. */
int mg_trial_repl(const char *config, const char *request, const char *const *folders, size_t folders_n);

/* `moongate replay` and `moongate diff`: main(args…) of a module of the runtime, which finds its plugins beside `config`. Returns what main does:
 * how many exchanges differ; < 0 when it could not run (told on stderr). */
int mg_trial_module(const char *config, const char *module, const char *const *args, size_t n);

#endif
