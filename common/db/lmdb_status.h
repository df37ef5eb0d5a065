#ifndef SOLO_COMMON_DB_LMDB_STATUS_H
#define SOLO_COMMON_DB_LMDB_STATUS_H

#include "common/base/status.h"

/* The status that a return code of LMDB (its own, or an errno) stands for. */
enum status status_from_lmdb(int code);

#endif
