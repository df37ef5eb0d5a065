/* Whose token is it? One answer for all that a caller may not touch: not_found. */
#include <string.h>

#include "common/access/token_text.h"
#include "common/base/auto.h"
#include "tokend/changes.h"

static enum status refuse_unknown(struct rpc_call *call, const char *field)
{
    return problem_set(&call->problem, STATUS_NOT_FOUND, field,
                       "names no token that is known here");
}

/* Up the line of parents, which is at most TOKEN_DEPTH_MAX long. */
static enum status descends_from(struct db_txn *txn, const struct token_record *record,
                                 const struct uuid *ancestor, bool *does)
{
    struct token_record above = *record;
    *does = false;
    while (!*does && above.depth > 0) {
        struct hash parent = above.parent;
        enum status status = token_find(txn, &parent, &above);
        if (status == STATUS_NOT_FOUND) /* swept; its children are expired, too */
            return STATUS_OK;
        TRY(status);
        *does = memcmp(above.accessor.bytes, ancestor->bytes, UUID_BYTES) == 0;
    }
    return STATUS_OK;
}

bool change_is_within(const struct caller *caller, const struct token_record *record)
{
    return caller->kind != CALLER_TOKEN || (strcmp(caller->tenant, record->tenant) == 0 &&
                                            (record->permissions & ~caller->permissions) == 0);
}

enum status change_caller_end(struct db_txn *txn, struct rpc_call *call, uint64_t *expires_ns)
{
    struct uuid own;
    struct hash hash;
    struct token_record record;
    *expires_ns = 0;
    if (call->caller.accessor[0] == '\0')
        return STATUS_OK;
    enum status status = accessor_parse(call->caller.accessor, &own);
    if (status == STATUS_OK)
        status = token_find_accessor(txn, &own, &hash, &record);
    if (status == STATUS_NOT_FOUND)
        return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "token",
                           "is not valid here: it was revoked just now");
    TRY(status);
    *expires_ns = record.expires_ns;
    return STATUS_OK;
}

static enum status may_touch(struct db_txn *txn, const struct caller *caller,
                             const struct token_record *record, bool may_be_descendant, bool *may)
{
    struct uuid own;
    *may = true;
    if (caller->kind != CALLER_TOKEN)
        return STATUS_OK;
    *may = change_is_within(caller, record);
    if (!*may || (caller->permissions & permission_bit(PERMISSION_TOKENS_GRANT)))
        return STATUS_OK;
    *may = accessor_parse(caller->accessor, &own) == STATUS_OK;
    if (!*may || memcmp(own.bytes, record->accessor.bytes, UUID_BYTES) == 0)
        return STATUS_OK;
    return may_be_descendant ? descends_from(txn, record, &own, may) : (*may = false, STATUS_OK);
}

enum status change_target(struct db_txn *txn, struct rpc_call *call, const char *field,
                          const char *accessor, bool may_be_descendant, struct hash *hash,
                          struct token_record *record)
{
    struct uuid named;
    if (accessor[0] == '\0' && call->caller.accessor[0] == '\0')
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, field,
                           "must name a token: this call comes without one of its own");
    if (accessor[0] == '\0')
        accessor = call->caller.accessor;
    if (accessor_parse(accessor, &named) != STATUS_OK)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, field,
                           "must be an accessor: tok_ and 26 characters");
    enum status status = token_find_accessor(txn, &named, hash, record);
    if (status == STATUS_NOT_FOUND)
        return refuse_unknown(call, field);
    TRY(status);
    bool may;
    TRY(may_touch(txn, &call->caller, record, may_be_descendant, &may));
    return may ? STATUS_OK : refuse_unknown(call, field);
}
