/* store_parts.h - the database of a store, used by one thread at a time. */
#ifndef MG_SERVICE_STORE_PARTS_H
#define MG_SERVICE_STORE_PARTS_H

#include <sqlite3.h>
#include "service/store.h"

enum { DB_BEGIN, DB_BEGIN_WRITE, DB_COMMIT, DB_ROLLBACK, DB_GET, DB_PUT, DB_DELETE, DB_LIST, DB_PURGE, DB_STATEMENTS };

struct mg_store_db {
    sqlite3 *db;
    sqlite3_stmt *statements[DB_STATEMENTS];
};

/* path NULL: in memory. 0, or MG_ECONF with err and nothing open. */
int mg_store_db_open(struct mg_store_db *d, const char *path, struct mg_error *err);
void mg_store_db_close(struct mg_store_db *d);
/* Begin or end a transaction. An SQLite code. */
int mg_store_db_step(struct mg_store_db *d, int statement);
/* Do one job within a transaction: job->status and the result. An SQLite code: other than SQLITE_OK, the transaction is lost. */
int mg_store_db_do(struct mg_store_db *d, struct mg_store_job *job);
/* Drop some of what is past its time. How many went; < 0: failed. */
int mg_store_db_purge(struct mg_store_db *d, int64_t now_ms);

#endif
