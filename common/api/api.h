#ifndef SOLO_COMMON_API_API_H
#define SOLO_COMMON_API_API_H

#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/rpc/method.h"

/* The contracts between programs: what each can be asked, made from the .def files of this folder.
 * A METHOD block `event_append` declares struct event_append_request, struct event_append_reply and
 * method_event_append; a RECORD block `live_row` declares struct live_row and record_live_row. */

#define API_TYPE_bool     bool
#define API_TYPE_u64      uint64_t
#define API_TYPE_i64      int64_t
#define API_TYPE_str      const char *
#define API_TYPE_name     const char *
#define API_TYPE_secret   const char *
#define API_TYPE_bytes    struct span
#define API_TYPE_hash     struct hash
#define API_TYPE_str_list struct str_list
#define API_TYPE_map      struct span
#define API_TYPE_list     struct span

#define API_METHODS                                                                                \
    "common/api/methods.def" /* all: daemon, store, eventd, tokend, vaultd, deployd, tenantd,      \
                                solod */

/* requests */
#define METHOD(name, wire, permission, flags, meaning) struct name##_request {
#define IN(kind, field, bound, meaning)                API_TYPE_##kind field;
#define OPT(kind, field, bound, meaning)               API_TYPE_##kind field;
#define OUT(kind, field, bound, meaning)
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include API_METHODS
#undef METHOD
#undef IN
#undef OPT
#undef OUT

/* replies */
#define METHOD(name, wire, permission, flags, meaning) struct name##_reply {
#define IN(kind, field, bound, meaning)
#define OPT(kind, field, bound, meaning)
#define OUT(kind, field, bound, meaning) API_TYPE_##kind field;
#include API_METHODS
#undef METHOD
#undef IN
#undef OPT
#undef OUT

/* records */
#define RECORD(name, meaning)              struct name {
#define FIELD(kind, field, bound, meaning) API_TYPE_##kind field;
#define MAYBE(kind, field, bound, meaning) API_TYPE_##kind field;
#include "common/api/records/records.def"
#undef RECORD
#undef FIELD
#undef MAYBE
#undef END

#define METHOD(name, wire, permission, flags, meaning) extern const struct method method_##name;
#define IN(kind, field, bound, meaning)
#define OPT(kind, field, bound, meaning)
#define OUT(kind, field, bound, meaning)
#define END(name)
#include API_METHODS
#undef METHOD
#undef IN
#undef OPT
#undef OUT

#define RECORD(name, meaning) extern const struct field_table record_##name;
#define FIELD(kind, field, bound, meaning)
#define MAYBE(kind, field, bound, meaning)
#include "common/api/records/records.def"
#undef RECORD
#undef FIELD
#undef MAYBE
#undef END

/* The version of the supervisor's methods, checked in supervisor.hello. */
enum { SUPERVISOR_PROTOCOL = 1 };

/* Every method of every daemon, ended by NULL: for help, docs and the tests that walk them. */
extern const struct method *const all_methods[];
extern const char
    *const all_method_daemons[]; /* which daemon answers it, same index; or "daemon", "store" */

#endif
