/* codec.h - hex digits, for those inside the core. */
#ifndef MG_PDK_CODEC_H
#define MG_PDK_CODEC_H

#include <stddef.h>

/* 2 * n digits in lower case. */
void mg_hex_put(char *out, const void *p, size_t n);

#endif
