/* The zeros go where the file ends, as the kernel says at that moment, and no transaction is open:
 * they can never lie on what LMDB has written. Real zeros, because space that is only allocated
 * (fallocate) must still be marked as written, in the journal again. */
#include "common/db/reserve.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/ensure.h"
#include "common/base/log.h"

/* In proportion to the store, so that a small one stays small. */
enum { AHEAD_BYTES_MIN = 256 * 1024, AHEAD_BYTES_MAX = 8 * 1024 * 1024 };

/* The last part of the map is for what must not be refused. */
enum { MAP_RESERVE_PART = 256 };

static const uint8_t zeros[64 * 1024];

static uint64_t bytes_used(const struct db *db)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(db->env, &info);
    mdb_env_stat(db->env, &stat);
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

static uint64_t bytes_ahead(uint64_t used)
{
    uint64_t ahead = used / 4;
    ahead = ahead < AHEAD_BYTES_MIN ? AHEAD_BYTES_MIN : ahead;
    return ahead > AHEAD_BYTES_MAX ? AHEAD_BYTES_MAX : ahead;
}

static bool write_zeros(int fd, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        size_t part = size < sizeof zeros ? (size_t)size : sizeof zeros;
        ssize_t written = pwrite(fd, zeros, part, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        offset += (uint64_t)written;
        size -= (uint64_t)written;
    }
    return true;
}

/* Makes the file at least `end` long; false when the disk refuses. */
static bool extend(struct db *db, uint64_t end)
{
    int fd;
    struct stat stat;
    int rc = mdb_env_get_fd(db->env, &fd);
    ensure(rc == 0);
    bool is_done = fstat(fd, &stat) == 0 &&
                   ((uint64_t)stat.st_size >= end ||
                    write_zeros(fd, (uint64_t)stat.st_size, end - (uint64_t)stat.st_size));
    if (!is_done && !db->is_short_of_space)
        log_failure(status_from_errno(errno), "write ahead in store", "dir", db->dir, "reason",
                    strerror(errno));
    if (is_done)
        db->file_bytes = (uint64_t)stat.st_size > end ? (uint64_t)stat.st_size : end;
    return is_done;
}

void reserve_keep(struct db *db)
{
    if (!db->schema->is_durable)
        return;
    uint64_t used = bytes_used(db), ahead = bytes_ahead(used), map = db->schema->map_bytes;
    bool has_room = used + map / MAP_RESERVE_PART < map;
    bool is_ahead = db->file_bytes >= used + ahead / 4;
    if (!is_ahead || db->is_short_of_space)
        is_ahead = extend(db, used + ahead < map ? used + ahead : map);
    bool is_short = !is_ahead || !has_room;
    if (is_short != db->is_short_of_space)
        log_warning(is_short ? "short of space: refusing what grows" : "there is space again",
                    "dir", db->dir, "bytes_used", NUMBER(used), "map_bytes", NUMBER(map));
    db->is_short_of_space = is_short;
}
