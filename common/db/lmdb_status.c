/* The one place where LMDB's return codes become ours. */
#include "common/db/lmdb_status.h"

#include <lmdb.h>

enum status status_from_lmdb(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return STATUS_OK;
    case MDB_NOTFOUND:
        return STATUS_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
        return STATUS_RESOURCE_EXHAUSTED;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_CURSOR_FULL: /* a tree deeper than any can be: one with a circle */
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return STATUS_DATA_LOSS;
    case MDB_PANIC: /* an earlier write of a meta page failed */
        return STATUS_IO;
    default:
        return code > 0 ? status_from_errno(code) : STATUS_INTERNAL;
    }
}
