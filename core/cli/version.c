/* version.c - `moongate version` */
#include <ares.h>
#include <cjson/cJSON.h>
#include <llhttp.h>
#include <luajit.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <uv.h>
#include <moongate/plugin.h>
#include "cli/cli.h"

static const struct mg_command about = {
    .name = "version", .usage = "version", .doc = "Versions of moongate, its plugin ABI and the libraries it runs on.",
};

int mg_cmd_version(int argc, char **argv)
{
    struct mg_cli cli;
    char pcre[64] = "?";

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    printf("moongate %s\nplugin ABI %u.%u\n", MG_VERSION, (unsigned)(MG_PLUGIN_ABI >> 16), (unsigned)(MG_PLUGIN_ABI & 0xffff));
    printf("libuv %s\nllhttp %d.%d.%d\n%s\n%s\n", uv_version_string(), LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
           LLHTTP_VERSION_PATCH, OpenSSL_version(OPENSSL_VERSION), LUAJIT_VERSION);
    printf("PCRE2 %s\nc-ares %s\ncJSON %s\n", pcre, ares_version(NULL), cJSON_Version());
    return MG_EXIT_OK;
}
