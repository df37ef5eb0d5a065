#ifndef SOLO_COMMON_BASE_FILE_H
#define SOLO_COMMON_BASE_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/base/buffer.h"
#include "common/base/status.h"

/* A descriptor that closes itself: AUTO(fd_close) int fd = -1; */
void fd_close(int *fd);
/* The same of an open directory: AUTO(directory_close) DIR *folder = opendir(path); */
void directory_close(DIR **directory);

/* What a system call on `path` failed of: logged, and errno as a status. */
enum status errno_failure(const char *what, const char *path);

/* Creates `path` and its parents with `mode` (the parents with 0755, all less the umask), each
 * synced into its folder; one that exists already is fine. */
enum status directory_make(const char *path, mode_t mode);

/* What was made, renamed or removed in it stays so after a power cut. */
enum status directory_sync(const char *path);

/* Removes a directory and what is in it; one that is not there is fine. Does not follow links and
 * does not leave the file system. */
enum status directory_remove(const char *path);

/* Removes what is in a directory but keeps it. However deep it is, and whatever modes its owner
 * gave what is in it. */
enum status directory_empty(const char *path);
enum status directory_empty_at(int fd);

/* Reads a whole file, at most buffer->limit bytes (resource_exhausted beyond). Not logged when the
 * file does not exist: not_found. */
enum status file_read(const char *path, struct buffer *buffer);

/* Writes beside `path`, syncs, renames and syncs the directory: after a power cut there is the old
 * content or the new, never a mix. */
enum status file_write_durably(const char *path, struct span content, mode_t mode);

/* The same without the syncs, for what need not survive the boot. */
enum status file_write(const char *path, struct span content, mode_t mode);

/* "first/second" into a new buffer of PATH_MAX; resource_exhausted when too long. */
enum status path_join(char path[4096], const char *first, const char *second);

/* write(2) until all is written; EINTR is retried. */
enum status fd_write_all(int fd, struct span data);

#endif
