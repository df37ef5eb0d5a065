#ifndef SOLO_TESTS_UNIT_EVENTD_LOG_FIXTURE_H
#define SOLO_TESTS_UNIT_EVENTD_LOG_FIXTURE_H

#include "common/rpc/server.h"
#include "eventd/appending.h"
#include "eventd/event_store.h"

/* An event store in a scratch folder, and requests to it without a server around. What must succeed
 * and does not fails the test. */
extern struct event_store store;

void fixture_open(void);
void fixture_close(void);
/* Closes and opens again, as a restart does. */
void fixture_reopen(void);
const char *fixture_data_dir(void);

/* A call of deployd, of the operator, of a token of `tenant`. */
struct rpc_call call_of_daemon(const char *daemon);
struct rpc_call call_of_operator(void);
struct rpc_call call_of_token(const char *tenant);
/* With a request_id, and a body hash made of `body`. */
void call_identify(struct rpc_call *call, const struct uuid *id, const char *body);

/* A request with every text "" that is not set here. */
struct event_append_request request_of(const char *type, const char *tenant, const char *subject,
                                       struct span payload);

/* In a turn of its own: appends, commits (also nothing). */
enum status append_one(struct rpc_call *call, const struct event_append_request *request,
                       struct append_outcome *outcome);
enum status append_many(struct rpc_call *call, const struct event_append_request *requests,
                        size_t count, struct append_outcome *outcome);
/* The number of an event that must be appended. */
uint64_t must_append(struct rpc_call *call, const struct event_append_request *request);

/* Payloads: valid until the next call. */
struct span payload_deploy(const char *spec_text);
struct span payload_generation(uint64_t generation);
struct span payload_index(uint64_t index);
struct span payload_text(const char *text);

#endif
