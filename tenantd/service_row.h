#ifndef SOLO_TENANTD_SERVICE_ROW_H
#define SOLO_TENANTD_SERVICE_ROW_H

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "tenantd/service.h"

/* What others see of a service: its row, its exits and the payloads of its reports. */
void service_row_write(const struct service *service, struct buffer *buffer);

/* "exited with code 3", "was killed by SIGKILL", "was killed for memory: 256 of 256 MiB"; behind
 * that `when`, and at the end what a limit may have had to do with it. */
enum { EXIT_TEXT_BYTES = 208, EXIT_WHEN_BYTES = DURATION_TEXT_BYTES + 32 };
char *exit_text(char text[EXIT_TEXT_BYTES], const struct service *service, const char *when);

/* Remembers the exit that service->exit_status and ran_ns describe, with the last output. */
void service_exit_keep(struct service *service);
/* Takes over what another supervisor said of it: its past exits, restarts and breaches. Copies its
 * reason; "" when the row cannot be read. */
void service_past_take(struct service *service, struct span packed,
                       char reason[REASON_BYTES_MAX + 1]);

/* Queues a report, with the exit's fields, the cause of a stop, the versions of the secrets that it
 * was given. */
enum { REPORT_PLAIN = 0, REPORT_WITH_EXIT = 1, REPORT_WITH_STOP = 2, REPORT_WITH_SECRETS = 4 };
/* Its number, 0 when it was not taken. */
uint64_t service_report(struct service *service, const char *type, uint64_t causation_id,
                        unsigned parts);

/* Queues a resource_usage_high: a limit of its spec is nearly reached. */
void service_report_usage(struct service *service, const char *resource, uint64_t used,
                          uint64_t allowed);

/* The number of the report that its newest process runs, 0 when it was acknowledged. */
uint64_t service_start_report(const struct service *service);

/* Answer every call of a list, which is then empty. */
void service_answer_rows(struct service *service, struct rpc_call **calls);
void service_answer_stopped(struct service *service, struct rpc_call **calls);
void calls_fail(struct rpc_call **calls, enum status status, const struct problem *problem);

#endif
