/* The zeros go where the file ends, as the kernel says at that moment, and no transaction is open:
 * they can never lie on what LMDB has written. Real zeros, because space that is only allocated
 * (fallocate) must still be marked as written, in the journal again. */
#include "common/db/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/environment.h"

/* In proportion to the store, so that a small one stays small. */
enum { AHEAD_BYTES_MIN = 256 * 1024, AHEAD_BYTES_MAX = 8 * 1024 * 1024 };

/* A small disk gives a smaller part; a small map, too. */
enum { BALLAST_DISK_PART = 32, MAP_PART = 8 };

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

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ballast_of(const struct statvfs *disk)
{
    uint64_t part = (uint64_t)disk->f_blocks * disk->f_frsize / BALLAST_DISK_PART;
    return least(RESERVE_BYTES, part < AHEAD_BYTES_MIN ? AHEAD_BYTES_MIN : part);
}

static uint64_t ballast_of_disk(int fd)
{
    struct statvfs disk;
    return fstatvfs(fd, &disk) < 0 ? RESERVE_BYTES : ballast_of(&disk);
}

enum status reserve_room_beside(const char *folder, uint64_t *bytes)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) < 0) {
        int error = errno;
        return log_failure(status_from_errno(error), "look for room", "dir", folder, "reason",
                           strerror(error));
    }
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize, kept = ballast_of(&disk);
    *bytes = left > kept ? left - kept : 0;
    return STATUS_OK;
}

/* Blocks that belong to the file, behind its end too. Where the file system cannot say so without
 * writing, zeros do. */
static bool keep_blocks(struct db *db, uint64_t used, uint64_t end)
{
    int fd, rc = mdb_env_get_fd(db->env, &fd);
    ensure(rc == 0);
    while ((rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)used, (off_t)(end - used))) < 0 &&
           errno == EINTR) {
    }
    if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        return extend(db, end);
    if (rc < 0 && !db->is_short_of_space)
        log_failure(status_from_errno(errno), "keep the reserve of a store", "dir", db->dir,
                    "reason", strerror(errno));
    return rc == 0;
}

/* A quarter more than is needed, so that this is seldom asked for. */
static bool has_ballast(struct db *db, uint64_t used, uint64_t map)
{
    int fd;
    if (db->ballast_bytes == 0 && mdb_env_get_fd(db->env, &fd) == 0)
        db->ballast_bytes = ballast_of_disk(fd);
    uint64_t needed = least(used + db->ballast_bytes, map);
    uint64_t end = least(needed + db->ballast_bytes / 4, map);
    if (db->kept_bytes >= needed && !db->is_short_of_space)
        return true;
    if (!keep_blocks(db, used, end))
        return false;
    db->kept_bytes = end;
    return true;
}

void reserve_keep(struct db *db)
{
    if (!db->schema->is_durable)
        return;
    uint64_t used = bytes_used(db), ahead = bytes_ahead(used);
    uint64_t map = environment_map_bytes(db->schema);
    bool has_room = used + least(RESERVE_BYTES, map / MAP_PART) < map;
    bool is_kept = has_room && has_ballast(db, used, map);
    bool is_ahead = db->file_bytes >= used + ahead / 4;
    if (!is_ahead || db->is_short_of_space)
        is_ahead = extend(db, least(used + ahead, map));
    bool is_short = !is_ahead || !is_kept;
    if (is_short != db->is_short_of_space)
        log_warning(is_short ? "short of space: refusing what grows" : "there is space again",
                    "dir", db->dir, "bytes_used", NUMBER(used), "map_bytes", NUMBER(map));
    db->is_short_of_space = is_short;
}
