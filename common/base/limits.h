#ifndef SOLO_COMMON_BASE_LIMITS_H
#define SOLO_COMMON_BASE_LIMITS_H

/* Every bound in one place; those that depend on one another are tied together below. Sizes in
 * bytes. */
enum {
    /* frames and messages */
    FRAME_BYTES_SMALL = 64 * 1024, /* what a method takes unless its row says BIG */
    FRAME_BYTES_MAX = 1024 * 1024,
    FRAME_DEPTH_MAX = 16,
    MESSAGE_OVERHEAD_BYTES = 4 * 1024, /* header, names and small fields around one big field */
    METHOD_NAME_BYTES_MAX = 64,
    LIST_COUNT_MAX = 4096,

    /* events */
    EVENT_TYPE_BYTES_MAX = 64,
    EVENT_SUBJECT_BYTES_MAX = 160,
    EVENT_SOURCE_BYTES_MAX = 80,
    EVENT_KILLED_BYTES_MAX = 512, /* of system_shutdown_complete: names of who had to be killed */
    EVENT_PAYLOAD_BYTES_MAX = 768 * 1024,
    EVENT_RECORD_BYTES_MAX = 800 * 1024,
    EVENT_TEXTS_BYTES_MAX = 16 * 1024, /* arena for one event's texts; its payload is not copied */
    EVENT_BATCH_MAX = 1024,
    LATE_EVENTS_MAX = 2048, /* newest ones of which `heads` and `requests` need not speak yet */
    HEAD_WALK_EVENTS_MAX = 1 << 20,   /* looked through for the newest one about something, when its
                                         row is damaged: about two seconds */
    LATE_BYTES_MAX = 4 * 1024 * 1024, /* of those; the last one may go beyond */
    QUERY_LIMIT_MAX = 1000,
    QUERY_SCAN_MAX = 20000, /* records looked at by one request */
    QUERY_SCAN_BYTES_MAX = 16 * 1024 * 1024,

    /* requests that can be repeated */
    REQUESTS_KEPT_MAX = 1 << 20,
    REQUESTS_KEPT_MS = 24 * 60 * 60 * 1000,
    REQUESTS_AHEAD_MS_MAX = 60 * 60 * 1000, /* a caller's clock that is a little ahead is fine */
    SOURCE_WINDOW = 1024, /* newest numbers of a source whose bodies can be compared */
    SOURCES_MAX = 4096,

    /* tokens */
    TOKENS_MAX = 1 << 21, /* valid, expired and not yet swept, and lately revoked */
    TOKEN_ACCESSOR_BYTES_MAX = 30,
    TOKEN_METADATA_BYTES_MAX = 4096,
    TOKEN_DEPTH_MAX = 8,          /* of attenuation: a granted token has 0 */
    TOKEN_DESCENDANTS_MAX = 1024, /* of one granted token, all depths together */
    TOKEN_LIST_MAX = 1000,
    TOKEN_AFTER_BYTES_MAX = 96,
    TOKEN_USES_REPORTED_MAX = 256, /* by one token.report_use */
    TOKEN_USES_MAX = 4096,         /* counted by one verifier between two reports */
    OUTBOX_ROWS_MAX = 64 * 1024,   /* past it grants are refused, and sweeps wait */

    /* secrets */
    SECRET_VALUE_BYTES_MAX = 64 * 1024,
    SECRET_VERSIONS_MAX = 64,       /* of one secret, that still have a ciphertext or are told of */
    SECRETS_PER_TENANT_MAX = 10000, /* deleted ones included: their numbers are not used again */
    SECRET_LIST_MAX = 1000,
    SECRET_AFTER_BYTES_MAX = 128,
    VAULT_PASSPHRASE_BYTES_MAX = 1024,
    VAULT_DAMAGED_TOLD_MAX = 256,         /* names of damaged secrets in one answer */
    VAULT_AWAITS_MAX = 16,                /* callers of secret.await */
    VAULT_DENIALS_MAX = 64,               /* different ones between two events about them */
    VAULT_LOCKED_BYTES = 3 * 1024 * 1024, /* for values that pass through */
    VAULT_UNREAD_BYTES_MAX = 512 * 1024,  /* of one connection to vaultd */
    VAULT_BATCH_ANSWER_BYTES_MAX = 512 * 1024,

    /* specs */
    SPEC_CODE_BYTES_MAX = 512 * 1024,
    SPEC_BYTES_MAX = 704 * 1024,
    SPEC_LIST_MAX = 256, /* elements of argv, env, secrets, interpreter, build */
    SPEC_SECRETS_MAX = 64,
    SPEC_TEXT_BYTES_MAX = 16 * 1024,
    PATH_TEXT_BYTES_MAX = 4096,

    /* services */
    TENANTS_MAX = 1024,
    SERVICES_MAX = 16384,
    SERVICES_PER_TENANT_MAX = 10000,
    FAILED_DEPLOYS_MAX = 1024, /* first deploys that failed and are still shown */
    FAILED_DEPLOYS_PER_TENANT_MAX = 64,
    EXITS_KEPT = 5,
    EXIT_OUTPUT_BYTES_MAX = 512,
    REASON_BYTES_MAX = 256,
    OPERATIONS_QUEUED_MAX = 64, /* requests waiting for one service */
    REPORTS_UNACKNOWLEDGED_MAX = 16384,
    REPORTS_SENT_MAX = 256, /* unacknowledged ones that a supervisor has sent */
    SUPERVISOR_REPORT_BYTES_MAX = 16 * 1024,
    SUPERVISORS_SPAWNING_MAX = 16, /* being started at once */
    RECONCILE_PARALLEL = 64,       /* what deployd begins by itself, at once */
    DELIVERIES_RUNNING_MAX = 64,   /* secrets on their way to supervisors */
    RECOVERY_ACTING_MAX = 1024,    /* recovery.act calls at once */
    DRAIN_CALLS_MAX = 16,          /* callers that wait for the shutdown */
    WAITS_MAX = 4096, /* callers of service.wait; a quarter for one tenant: common/rpc/shares.h */
    LOG_STREAMS_MAX = 64,  /* callers of service.logs; shared out likewise */
    LOG_SEARCH_MAX = 4096, /* records that deployd looks at, each hashed, for one question */
    LOG_SEARCH_BYTES_MAX = 16 * 1024 * 1024,
    KILLS_KEPT = 64,                /* of services that a supervisor holds no longer */
    LOG_LINE_BYTES_MAX = 16 * 1024, /* longer lines are split with CRI's P flag */

    /* builds, of one tenant */
    BUILD_MS_MAX = 60 * 1000,
    BUILDS_RUNNING_MAX = 2,
    BUILDS_QUEUED_MAX = 1024,
    BUILDS_QUEUED_BYTES_MAX = 64 * 1024 * 1024,  /* of their specs */
    BUILD_MEMORY_BYTES_MAX = 1024 * 1024 * 1024, /* of one process */
    BUILD_TASKS_MAX = 256,                       /* besides what its uid runs already */
    BUILD_NICENESS = 10,                         /* what runs already goes first */
    BUILD_SCRATCH_BYTES_MAX = 512 * 1024 * 1024, /* all files together */
    BUILD_SCRATCH_FILES_MAX = 65536,
    BUILD_SCRATCH_DEPTH_MAX = 64,
    BUILD_OUTPUT_BYTES_MAX = 16 * 1024 * 1024, /* printed */
    BUILD_ARTEFACT_BYTES_MAX = 64 * 1024 * 1024,
    BUILDS_KEPT_MAX = 16384, /* artefacts in the cache, of all tenants */

    /* connections */
    CONNECTIONS_MAX = 1024,
    CONNECTIONS_RESERVED = 256, /* of these, for operators and daemons */
    CONNECTIONS_PER_UID_MAX = 256,
    CALLS_PER_CONNECTION_MAX = 256,
    CALLS_MAX = 32768,     /* without an answer; shared out likewise */
    CALLS_RESERVED = 1024, /* beyond those, for METHOD_URGENT */
    BIG_FRAMES_MAX = 64,   /* above FRAME_BYTES_SMALL, arriving at once */
    FRAME_COMPLETE_MS_MAX = 10 * 1000,
    CONNECTION_IDLE_MS_MAX = 10 * 60 * 1000,
    UNREAD_BYTES_MAX = 4 * 1024 * 1024,
    UNREAD_BYTES_TOTAL_MAX = 64 * 1024 * 1024,
    UNREAD_MS_MAX = 60 * 1000,
    CLIENT_PENDING_MAX = 16384,
    OUTPUT_FILES_MAX = 256,   /* descriptors that wait to be sent over one connection */
    BATCH_ANSWERS_MAX = 4096, /* answers that wait for one commit */
    BATCH_ANSWER_BYTES_MAX = 4 * FRAME_BYTES_MAX,
    BATCH_REQUEST_BYTES_MAX = 16 * FRAME_BYTES_MAX,
    WATCHES_MAX = 512, /* live tails of the event log at once; shared out likewise */
};

/* Ten years, as duration_parse has them. */
#define TOKEN_TTL_MS_MAX (3660ull * 86400000ull)

_Static_assert(FRAME_BYTES_MAX >= EVENT_PAYLOAD_BYTES_MAX + MESSAGE_OVERHEAD_BYTES,
               "an event's payload must fit into a frame");
_Static_assert(EVENT_RECORD_BYTES_MAX >= EVENT_PAYLOAD_BYTES_MAX + MESSAGE_OVERHEAD_BYTES,
               "an event's payload must fit into a record");
_Static_assert(EVENT_TEXTS_BYTES_MAX >=
                   2 * (EVENT_TYPE_BYTES_MAX + EVENT_SUBJECT_BYTES_MAX + EVENT_SOURCE_BYTES_MAX),
               "the texts of an event fit into their arena");
_Static_assert(EVENT_PAYLOAD_BYTES_MAX >= SPEC_BYTES_MAX + MESSAGE_OVERHEAD_BYTES,
               "the payload of service_deployed holds the complete spec");
_Static_assert(VAULT_LOCKED_BYTES / 2 >= VAULT_UNREAD_BYTES_MAX + VAULT_BATCH_ANSWER_BYTES_MAX,
               "one client that does not read leaves room for the others");
_Static_assert(VAULT_UNREAD_BYTES_MAX > 2 * SECRET_VALUE_BYTES_MAX,
               "a client may be a value behind");
_Static_assert((int)REPORTS_SENT_MAX <= (int)SOURCE_WINDOW,
               "a report that is sent again can be compared with the first one");
_Static_assert(SPEC_BYTES_MAX >= SPEC_CODE_BYTES_MAX + 64 * 1024, "a spec holds its code");
_Static_assert(UNREAD_BYTES_MAX > 2 * FRAME_BYTES_MAX, "a client may be one big answer behind");

#endif
