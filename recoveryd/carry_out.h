#ifndef SOLO_RECOVERYD_CARRY_OUT_H
#define SOLO_RECOVERYD_CARRY_OUT_H

#include "recoveryd/options.h"
#include "recoveryd/report.h"

/* Hands a plan to deployd, action by action: settings.recovery_parallel in flight, tenants in turn,
 * none begun past the time limit. deployd fences each action by its generation, writes the events,
 * and is told how it went. */
struct carry_out;

/* recovery.begin. `picture` must outlive it. unavailable when deployd does not answer. */
enum status carry_out_open(struct carry_out **carry_out, const struct settings *settings,
                           const struct options *options, const struct picture *picture);
/* For a repair, which begins and ends nothing: only the entries of the plan with a cause other than
 * 0 (an event's number) are handed over, and none that cannot be recovered. `causes`, one for each
 * entry, must outlive it. */
enum status carry_out_open_repair(struct carry_out **carry_out, const struct settings *settings,
                                  const struct options *options, const struct picture *picture,
                                  const uint64_t *causes);
/* Attempts every action, or runs out of time; fills outcomes, counts, is_cut and took_ms of
 * `report`. The outcomes live as long as `carry_out`. */
enum status carry_out_run(struct carry_out *carry_out, struct report *report);
/* recovery.end, with the verification when there was one. */
enum status carry_out_finish(struct carry_out *carry_out, const struct report *report);
void carry_out_close(struct carry_out **carry_out);

#endif
