#ifndef SOLO_COMMON_BASE_UNIX_SOCKET_H
#define SOLO_COMMON_BASE_UNIX_SOCKET_H

#include <sys/types.h>

#include "common/base/status.h"

/* Stream sockets at paths of any length: bound and connected through /proc/self/fd/DIRECTORY/NAME,
 * because sun_path holds 107 bytes only (unix(7)). All descriptors are non-blocking and
 * close-on-exec; the caller owns them. */

/* Replaces a socket that is there. */
enum status unix_socket_listen(const char *path, mode_t mode, int *fd);

/* not_found when there is no socket, unavailable when nobody listens, resource_exhausted when who
 * listens has a full backlog; none is logged. */
enum status unix_socket_connect(const char *path, int *fd);

#endif
