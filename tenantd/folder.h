#ifndef SOLO_TENANTD_FOLDER_H
#define SOLO_TENANTD_FOLDER_H

#include <stdbool.h>
#include <sys/types.h>

/* A folder of ours that is used by its descriptor all our life, because a mount namespace hides its
 * path, and that a person may remove meanwhile. */
struct folder {
    int fd;
    int top;          /* descriptor of a folder above it, not owned; -1: it is not made anew */
    const char *path; /* from there, not owned */
    mode_t mode;      /* of those that are made */
};

/* When it was removed: makes it anew, with those above it, behind the same descriptor. False when
 * it is still there, or when that fails, which is logged. */
bool folder_renew(const struct folder *folder);

#endif
