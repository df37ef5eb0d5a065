/* The tables behind the .def files, made in passes over the same blocks. Requests are closed,
 * replies and the items of their lists are open: programs of two versions meet while they are
 * upgraded. What only lies in a store is closed, its format says who can read it. Each fields array
 * ends with an entry that is not counted, so that a method without fields is legal C. */
#include "common/api/api.h"

#include <stddef.h>

/* clang-format off */
#define FIELDS_END { NULL, FIELD_bool, false, 0, NULL }
#define TABLE(struct_name, fields, is_open) \
    { #struct_name, fields, sizeof fields / sizeof fields[0] - 1, sizeof(struct struct_name), is_open }
/* clang-format on */

/* requests */
#define METHOD(name, wire, permission, flags, meaning)                                             \
    static const struct field name##_request_fields[] = {
#define IN(kind, field, bound, meaning)  { #field, FIELD_##kind, true, bound, meaning },
#define OPT(kind, field, bound, meaning) { #field, FIELD_##kind, false, bound, meaning },
#define OUT(kind, field, bound, meaning)
#define END(name)                                                                                  \
    FIELDS_END                                                                                     \
    }                                                                                              \
    ;                                                                                              \
    static const struct field_table name##_request_table =                                         \
        TABLE(name##_request, name##_request_fields, false);
#include API_METHODS
#undef METHOD
#undef IN
#undef OPT
#undef OUT
#undef END

/* replies: every field is optional when read, so that a newer daemon may leave one out */
#define METHOD(name, wire, permission, flags, meaning)                                             \
    static const struct field name##_reply_fields[] = {
#define IN(kind, field, bound, meaning)
#define OPT(kind, field, bound, meaning)
#define OUT(kind, field, bound, meaning) { #field, FIELD_##kind, false, bound, meaning },
#define END(name)                                                                                  \
    FIELDS_END                                                                                     \
    }                                                                                              \
    ;                                                                                              \
    static const struct field_table name##_reply_table =                                           \
        TABLE(name##_reply, name##_reply_fields, true);
#include API_METHODS
#undef METHOD
#undef IN
#undef OPT
#undef OUT
#undef END

/* records */
#define RECORD(name, meaning)                                                                      \
    enum { name##_is_open = false };                                                               \
    static const struct field name##_fields[] = {
#define ITEM(name, meaning)                                                                        \
    enum { name##_is_open = true };                                                                \
    static const struct field name##_fields[] = {
#define FIELD(kind, field, bound, meaning) { #field, FIELD_##kind, true, bound, meaning },
#define MAYBE(kind, field, bound, meaning) { #field, FIELD_##kind, false, bound, meaning },
#define END(name)                                                                                  \
    FIELDS_END                                                                                     \
    }                                                                                              \
    ;                                                                                              \
    const struct field_table record_##name = TABLE(name, name##_fields, name##_is_open);
#include "common/api/records/records.def"
#undef RECORD
#undef FIELD
#undef MAYBE
#undef END

/* methods */
#define METHOD(name, wire, permission, flags, meaning)                                             \
    const struct method method_##name = {                                                          \
        wire, PERMISSION_##permission, flags, &name##_request_table, &name##_reply_table, meaning, \
    };
#define IN(kind, field, bound, meaning)
#define OPT(kind, field, bound, meaning)
#define OUT(kind, field, bound, meaning)
#define END(name)
#include API_METHODS
#undef METHOD

#define METHOD(name, wire, permission, flags, meaning) &method_##name,
const struct method *const all_methods[] = {
#include API_METHODS
    NULL,
};
#undef METHOD

#define METHOD(name, wire, permission, flags, meaning) "daemon",
const char *const all_method_daemons[] = {
#include "common/api/daemon.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "store",
#include "common/api/store.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "eventd",
#include "common/api/eventd.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "tokend",
#include "common/api/tokend.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "vaultd",
#include "common/api/vaultd.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "deployd",
#include "common/api/deployd.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "tenantd",
#include "common/api/tenantd.def"
#undef METHOD
#define METHOD(name, wire, permission, flags, meaning) "solod",
#include "common/api/solod.def"
#undef METHOD
    NULL,
};
