/* quota.h - counters shared by all workers (mg_bucket_take and the others of pdk.h). */
#ifndef MG_PDK_QUOTA_H
#define MG_PDK_QUOTA_H

/* Between two tests: everything counted so far is forgotten. Any thread. */
void mg_quota_reset(void);

#endif
