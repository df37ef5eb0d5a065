#ifndef SOLO_DEPLOYD_EVENT_MAP_H
#define SOLO_DEPLOYD_EVENT_MAP_H

#include "common/api/records/log_branch.h"
#include "common/api/records/recovery_cut.h"
#include "common/api/records/run_end.h"
#include "common/base/clock.h"
#include "common/base/problem.h"

/* eventd's store, mapped for reading: what is wanted, specs, past outcomes. Each function is one
 * short transaction. The file may be replaced under us (restored, set aside): then it is opened
 * again and `was_replaced` tells boot and reconcile to read everything anew. While the eventd that
 * served the former one is there nothing is read of it: only the next one looks whether it is the
 * log that everybody knows. */
struct event_map {
    struct db db;
    bool is_open;
    bool is_checked; /* in this turn of the loop: the same file as opened */
    bool was_replaced;
    bool is_served;  /* we have a connection to eventd */
    bool was_seen;   /* since it was made */
    bool is_foreign; /* it was replaced under that eventd */
    char dir[4096];
};

/* not_found while eventd has not made its store. */
enum status event_map_open(struct event_map *map, const char *data_dir);
void event_map_close(struct event_map *map);
/* For on_connection of the client of eventd. */
void event_map_connected(struct event_map *map, bool is_connected);
/* For before_sleep: the next read looks at the file again. */
void event_map_turn_ended(struct event_map *map);

/* Begins a short transaction; the caller ends it with db_end. */
enum status event_map_begin(struct event_map *map, struct db_txn *txn);

/* Whether the log is of yesterday by somebody's word: nothing is started or ended by it. Fills
 * `branch` in any case. */
bool event_map_is_forked(struct event_map *map, struct log_branch *branch);

/* Whether the log was salvaged and has lost, perhaps, what was decided last about this service. */
bool event_map_needs_review(struct event_map *map, const char *tenant, const char *name,
                            uint64_t since);

/* The live row, all zero when the service is not wanted. */
enum status event_map_live(struct event_map *map, const char *tenant, const char *name,
                           struct live_row *row);
/* not_found when the tenant is not in the log. */
enum status event_map_tenant(struct event_map *map, const char *tenant, struct tenant_row *row);
/* The newest event about a subject, 0 for none. */
enum status event_map_newest(struct event_map *map, const char *subject, uint64_t *id);

/* The event that was appended for this very request of a tenant: same id, same body. aborted (the
 * problem is filled) when the id was used with another body; not found is no failure. */
struct request_record {
    uint64_t event_id;   /* 0: not found */
    uint64_t generation; /* deployed, killed or to be restarted */
};
enum status event_map_request(struct event_map *map, const char *tenant, const struct uuid *id,
                              const struct hash *body, struct request_record *record,
                              struct problem *problem);

/* What became of a generation that is not the current one. */
enum generation_fate { FATE_UNKNOWN, FATE_FAILED, FATE_REPLACED, FATE_KILLED, FATE_COMPLETED };
struct generation_outcome {
    enum generation_fate fate;
    uint64_t event_id;
    char reason[REASON_BYTES_MAX + 1]; /* FATE_FAILED */
};
enum status event_map_outcome(struct event_map *map, const char *subject, uint64_t generation,
                              struct generation_outcome *outcome);

/* The failures of first deploys that were neither deployed again nor killed since, as far as the
 * log still tells: events service_deployment_failed, oldest first. Looks at a bounded number of the
 * newest ones. */
enum status event_map_failed_deploys(struct event_map *map, uint64_t ids[FAILED_DEPLOYS_MAX],
                                     size_t *count);
struct failed_deploy {
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    uint64_t generation;
    char reason[REASON_BYTES_MAX + 1];
};
enum status event_map_failed_deploy(struct event_map *map, uint64_t id,
                                    struct failed_deploy *failed);

/* Whether this generation was ever ready: service_started, _restarted or _recovered of it; also
 * when a recovery has found out that it does not become so, and when it cannot be told: so much has
 * happened since, or what happened then is archived. */
enum status event_map_has_run(struct event_map *map, const char *subject, uint64_t generation,
                              bool *has_run);

/* Whether it was started because of this event about it, or of a later one: service_started,
 * _restarted or _recovered say why. Also when it cannot be told, as above. */
enum status event_map_was_started_for(struct event_map *map, const char *subject, uint64_t event_id,
                                      bool *was_started);

/* How far a recovery came, as the report of its end says. */
struct recovery_outcome {
    bool is_cut; /* its time ran out */
    uint64_t done, total, failed, took_ms;
    char exit_hint[64];
};
/* Numbers that the report does not name stay what they are. */
void recovery_outcome_read(struct span report, struct recovery_outcome *outcome);

/* The newest run that the log knows of, and its recoveries. */
struct run_record {
    uint64_t started; /* system_started, 0 for none */
    char run_id[UUID_TEXT_BYTES];
    uint64_t recovery_started;       /* newest of this run, 0 for none */
    uint64_t recovery_completed;     /* that belongs to it, 0 for none */
    char last_end[RUN_END_BYTES];    /* of the run before it, as was recorded at its start */
    struct recovery_outcome outcome; /* then */
};
enum status event_map_run(struct event_map *map, struct run_record *run);

/* How far the newest recovery came, when it has no end in the log. */
enum status event_map_recovery_cut(struct event_map *map, struct recovery_cut *cut);

/* How that run ended, for the one that begins in boot `boot_id`: see run_end_find. */
enum status event_map_run_end(struct event_map *map, const char *boot_id, char end[RUN_END_BYTES]);

#endif
