/* random.h - fast random numbers, for ids and sampling. Secrets use mg_random_bytes. */
#ifndef MG_PDK_RANDOM_H
#define MG_PDK_RANDOM_H

#include <stdint.h>

uint64_t mg_random_u64(void);

/* Tests: from now on this thread's random numbers, bytes and UUIDs follow from `n`; 0: they are random again. */
void mg_random_seed(uint64_t n);

#endif
