/* A holder has a row while it has a place. Without memory for the row the place is counted for
 * nobody in particular. */
#include "common/rpc/shares.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct share {
    struct share *previous, *next;
    char holder[NAME_BYTES_MAX + 1]; /* a tenant; or "uid 1000", which is the name of none */
    size_t count;
};

static bool is_bounded(const struct caller *caller)
{
    return caller->kind == CALLER_TOKEN || caller->kind == CALLER_NOBODY;
}

static struct share *find(const struct shares *shares, const struct caller *caller,
                          char holder[NAME_BYTES_MAX + 1])
{
    struct share *share;
    if (caller->kind == CALLER_TOKEN)
        snprintf(holder, NAME_BYTES_MAX + 1, "%s", caller->tenant);
    else
        snprintf(holder, NAME_BYTES_MAX + 1, "uid %u", (unsigned)caller->uid);
    DL_FOREACH2(shares->holders, share, next)
    if (strcmp(share->holder, holder) == 0)
        return share;
    return NULL;
}

enum status shares_check(const struct shares *shares, size_t most, const char *what,
                         struct rpc_call *call)
{
    char holder[NAME_BYTES_MAX + 1];
    if (shares->taken >= most)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "there are %zu %s already, which is the most", shares->taken, what);
    if (!is_bounded(&call->caller) || shares->taken_by_others < most / 4)
        return STATUS_OK;
    if (shares->taken_by_others >= most - most / 4)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "there are %zu %s already, the last quarter is for operators",
                           shares->taken, what);
    const struct share *share = find(shares, &call->caller, holder);
    if (share != NULL && share->count >= most / 4)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "%s has %zu %s already, a quarter of all that there may be", holder,
                           share->count, what);
    return STATUS_OK;
}

struct share *shares_take(struct shares *shares, const struct caller *caller)
{
    char holder[NAME_BYTES_MAX + 1];
    shares->taken++;
    if (!is_bounded(caller))
        return NULL;
    struct share *share = find(shares, caller, holder);
    if (share == NULL) {
        share = calloc(1, sizeof *share);
        if (share == NULL)
            return NULL;
        memcpy(share->holder, holder, sizeof holder);
        DL_APPEND2(shares->holders, share, previous, next);
    }
    share->count++;
    shares->taken_by_others++;
    return share;
}

void shares_give(struct shares *shares, struct share *share)
{
    shares->taken--;
    if (share == NULL)
        return;
    shares->taken_by_others--;
    if (--share->count > 0)
        return;
    DL_DELETE2(shares->holders, share, previous, next);
    free(share);
}
