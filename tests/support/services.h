#ifndef SOLO_TESTS_SUPPORT_SERVICES_H
#define SOLO_TESTS_SUPPORT_SERVICES_H

#include "tests/support/testbed.h"

/* Services of a testbed, as tests speak of them. What must succeed and does not ends the test. A
 * timeout is a guard, never less than a minute: a busy machine takes its time. */

/* {"tenant", "name", "argv": [DIR/programs/PROGRAM, ARGUMENTS...]}; the arguments end with NULL. */
json_t *service_spec(const struct testbed *bed, const char *tenant, const char *name,
                     const char *program, ...) __attribute__((sentinel));

/* Deploys (and steals) a spec and answers when its program is exec'd: the generation. */
uint64_t service_deploy(const struct testbed *bed, json_t *spec);
/* The same when it may be refused. */
enum status service_try_deploy(const struct testbed *bed, json_t *spec, json_t **reply,
                               struct problem *problem);
/* A sleeper, the usual service: its generation. */
uint64_t service_deploy_sleeper(const struct testbed *bed, const char *tenant, const char *name);
uint64_t service_kill(const struct testbed *bed, const char *tenant, const char *name);

/* Its row, as service.describe shows it; NULL when there is none. */
json_t *service_row_of(const struct testbed *bed, const char *tenant, const char *name);
/* All rows, an array in the order of service.list, all pages. */
json_t *service_rows(const struct testbed *bed);

pid_t service_pid(const struct testbed *bed, const char *tenant, const char *name);
/* Waits until its state is this one; fails the test with its row after `timeout_ms`. */
void service_await(const struct testbed *bed, const char *tenant, const char *name,
                   const char *state, int timeout_ms);
/* Waits until it runs with another pid than this one; the new pid. */
pid_t service_await_new_pid(const struct testbed *bed, const char *tenant, const char *name,
                            pid_t old, int timeout_ms);

/* Every event from a number on, an array of items. */
json_t *events_after(const struct testbed *bed, uint64_t after);
/* How many of a type there are; `tenant` and `name` narrow when not NULL. */
size_t events_count(const json_t *events, const char *type, const char *tenant, const char *name);
/* The last of a type about a service (borrowed); NULL for none. */
json_t *event_last(const json_t *events, const char *type, const char *tenant, const char *name);
/* Waits until there is one of this type about the service after a number. */
void event_await(const struct testbed *bed, uint64_t after, const char *type, const char *tenant,
                 const char *name, int timeout_ms);
uint64_t log_last_id(const struct testbed *bed);
/* The same once nothing has been appended for a while, and neither tokend nor vaultd has anything
 * to send: reports come after the answer that caused them. */
uint64_t log_settled_id(const struct testbed *bed);

/* Text and number of an object's member; NULL and 0 when it has none. */
const char *text_in(const json_t *object, const char *key);
uint64_t number_in(const json_t *object, const char *key);

void sleep_ms(int milliseconds);

#endif
