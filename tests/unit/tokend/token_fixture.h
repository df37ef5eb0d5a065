#ifndef SOLO_TESTS_UNIT_TOKEND_TOKEN_FIXTURE_H
#define SOLO_TESTS_UNIT_TOKEND_TOKEN_FIXTURE_H

#include "common/access/token_text.h"
#include "tokend/changes.h"
#include "tokend/sweep.h"

/* A token store in a scratch folder with an eventd that is away, and requests to it without a
 * server around. What must succeed and does not fails the test. */
extern struct token_store store;
extern struct ev_loop *fixture_loop;

void fixture_open(void);
void fixture_close(void);
void fixture_reopen(void);

/* The trusted time goes on by so much. */
void fixture_pass(uint64_t seconds);

struct rpc_call call_of_operator(void);
/* Of a token that was granted here. */
struct rpc_call call_of_token(const char *accessor);

struct hash hash_drawn(void);

/* Each in a turn of its own, as the operator unless `call` says who. */
enum status try_grant(struct rpc_call *call, const struct token_grant_request *request,
                      struct token_grant_reply *reply);
enum status try_attenuate(struct rpc_call *call, const struct token_attenuate_request *request,
                          struct token_attenuate_reply *reply);
enum status try_renew(struct rpc_call *call, const char *accessor, uint64_t ttl_ms,
                      struct token_renew_reply *reply);
enum status try_revoke(struct rpc_call *call, const char *accessor, uint64_t *revoked);

/* A token of `tenant` with one or all permissions: its accessor, in one of eight buffers that take
 * turns. */
const char *granted(const char *tenant, const char *permission, uint64_t ttl_ms);
const char *attenuated(const char *parent);

bool is_there(const char *accessor);
/* Events of this type that wait in the outbox. */
size_t told(const char *type);

#endif
