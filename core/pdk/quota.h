/* quota.h - the counters themselves (quota.c). Plugins reach them by mg_bucket_take and its like (quota_call.c), where specs,
 * recordings and replays may have their say. Contracts as in pdk.h. */
#ifndef MG_PDK_QUOTA_H
#define MG_PDK_QUOTA_H

#include "base/str.h"

int mg_quota_bucket(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms, int64_t cost,
                    struct mg_quota *out);
int mg_quota_window(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms, int64_t cost,
                    struct mg_quota *out);
int mg_quota_counter(const char *space, size_t space_n, const char *key, size_t key_n, int64_t by, int64_t ttl_ms, int64_t *value);
/* Between two tests: everything counted so far is forgotten. Any thread. */
void mg_quota_reset(void);

#endif
