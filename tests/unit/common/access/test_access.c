/* Every identity against every permission, over a real socket where the identity comes from one. */
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/access/access.h"
#include "common/access/operators.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/rpc/message.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"

static const uint8_t run_key[32] = "0123456789abcdef0123456789abcde";
enum { STRANGER = 54321 };

static struct settings settings_with(const char *operator)
{
    struct settings settings = { 0 };
    strcpy(settings.operator, operator);
    return settings;
}

static struct access access_with(const char *operator)
{
    const struct settings settings = settings_with(operator);
    struct access access;
    cr_assert_eq(access_open(&access, &settings, run_key), STATUS_OK);
    /* The test may run as any user; none but `own_uid` shall be special by accident. */
    access.own_uid = 1234;
    access.has_operator_group = false;
    return access;
}

static enum status ask(struct access *access, enum caller_kind kind, uid_t uid,
                       enum permission permission, const char *token, struct rpc_call *call)
{
    static struct method method = { .name = "test.method" };
    method.permission = permission;
    *call = (struct rpc_call){ .method = &method, .caller = { .kind = kind, .uid = uid } };
    struct span sent = { 0 }; /* "" stands for no token at all */
    if (token[0] != '\0')
        sent = span_of_text(token);
    return access_authorise(access, call, sent);
}

Test(access, root_and_our_own_uid_are_operators)
{
    struct access access = access_with("uid");
    struct rpc_call call;
    static const uid_t operators[] = { 0, 1234 };
    for (size_t i = 0; i < COUNT_OF(operators); i++)
        for (unsigned permission = 0; permission < PERMISSION_COUNT; permission++) {
            enum status wanted =
                permission == PERMISSION_DAEMON ? STATUS_PERMISSION_DENIED : STATUS_OK;
            cr_expect_eq(ask(&access, CALLER_NOBODY, operators[i], permission, "", &call), wanted,
                         "%s", permission_name(permission));
            cr_expect_eq(call.caller.kind, CALLER_OPERATOR);
        }
}

Test(access, a_stranger_gets_only_what_is_for_everybody)
{
    struct access access = access_with("uid");
    struct rpc_call call;
    for (unsigned permission = 0; permission < PERMISSION_COUNT; permission++) {
        enum status status = ask(&access, CALLER_NOBODY, STRANGER, permission, "", &call);
        enum status wanted = permission == PERMISSION_EVERYBODY ? STATUS_OK
                             : permission == PERMISSION_DAEMON  ? STATUS_PERMISSION_DENIED
                                                                : STATUS_UNAUTHENTICATED;
        cr_expect_eq(status, wanted, "%s", permission_name(permission));
        cr_expect_eq(call.caller.kind, CALLER_NOBODY);
    }
    ask(&access, CALLER_NOBODY, STRANGER, PERMISSION_READ, "", &call);
    cr_expect_str_eq(call.problem.field, "token");
    cr_expect_not_null(strstr(call.problem.message, "group solo"), "it says what to do");
}

Test(access, with_operator_token_no_uid_has_rights)
{
    struct access access = access_with("token");
    struct rpc_call call;
    cr_expect_eq(ask(&access, CALLER_NOBODY, 0, PERMISSION_READ, "", &call),
                 STATUS_UNAUTHENTICATED);
    cr_expect_not_null(strstr(call.problem.message, "operator = token"));
    cr_expect_eq(ask(&access, CALLER_NOBODY, 1234, PERMISSION_READ, "", &call),
                 STATUS_UNAUTHENTICATED);
    cr_expect_eq(call.caller.kind, CALLER_NOBODY);
    cr_expect_eq(ask(&access, CALLER_NOBODY, 0, PERMISSION_EVERYBODY, "", &call), STATUS_OK);
    cr_expect_eq(call.caller.kind, CALLER_NOBODY, "status shows it what strangers see");
    cr_expect_eq(ask(&access, CALLER_DAEMON, 0, PERMISSION_ADMIN, "", &call), STATUS_OK);
}

Test(access, a_daemon_may_do_everything)
{
    struct access access = access_with("uid");
    struct rpc_call call;
    for (unsigned permission = 0; permission < PERMISSION_COUNT; permission++) {
        cr_expect_eq(ask(&access, CALLER_DAEMON, STRANGER, permission, "", &call), STATUS_OK);
        cr_expect_eq(call.caller.kind, CALLER_DAEMON);
    }
}

Test(access, a_token_that_is_sent_decides_alone)
{
    struct access access = access_with("uid");
    struct rpc_call call;
    cr_expect_eq(ask(&access, CALLER_NOBODY, 0, PERMISSION_READ, "solo_x", &call),
                 STATUS_UNAUTHENTICATED, "also root's");
    cr_expect_str_eq(call.problem.field, "token");
    cr_expect_null(strstr(call.problem.message, "solo_x"), "no token is ever shown");
    cr_expect_eq(ask(&access, CALLER_DAEMON, 0, PERMISSION_READ, "solo_x", &call),
                 STATUS_UNAUTHENTICATED);
    cr_expect_eq(ask(&access, CALLER_NOBODY, STRANGER, PERMISSION_EVERYBODY, "solo_x", &call),
                 STATUS_UNAUTHENTICATED, "also where none is needed");
}

/* ---- tokens ---- */

static enum status verdict;
static uint32_t allowed;

static enum status fake_verify(void *context, struct span text, struct caller *caller)
{
    (void)context, (void)text;
    strcpy(caller->accessor, "tok_x");
    if (verdict != STATUS_OK)
        return verdict;
    strcpy(caller->tenant, "acme");
    caller->permissions = allowed;
    caller->token = hash_of(text);
    return STATUS_OK;
}

static enum status fake_verify_again(void *context, const struct caller *caller)
{
    (void)context, (void)caller;
    return verdict;
}

static const struct token_verifier fake = { fake_verify, fake_verify_again, NULL };
static struct token_uses uses;

static struct access access_with_tokens(enum status status, uint32_t permissions)
{
    struct access access = access_with("token");
    verdict = status;
    allowed = permissions;
    access.tokens = &fake;
    access.uses = &uses;
    return access;
}

Test(access, a_token_allows_what_it_names_and_nothing_else)
{
    struct rpc_call call;
    for (unsigned has = PERMISSION_ANY_TOKEN + 1; has < PERMISSION_COUNT; has++) {
        struct access access = access_with_tokens(STATUS_OK, permission_bit(has));
        for (unsigned wanted = 0; wanted < PERMISSION_COUNT; wanted++) {
            bool is_allowed = wanted == has || wanted == PERMISSION_EVERYBODY ||
                              wanted == PERMISSION_ANY_TOKEN ||
                              (has == PERMISSION_ADMIN && wanted != PERMISSION_DAEMON);
            /* a token decides alone, so the daemon that sends it is no daemon */
            cr_expect_eq(ask(&access, CALLER_DAEMON, 0, wanted, "t", &call),
                         is_allowed ? STATUS_OK : STATUS_PERMISSION_DENIED, "%s for %s",
                         permission_name(has), permission_name(wanted));
            cr_expect_eq(call.caller.kind,
                         has == PERMISSION_ADMIN ? CALLER_OPERATOR : CALLER_TOKEN);
        }
    }
}

/* As the server does. */
static void ask_and_count(struct access *access, enum permission wanted)
{
    struct rpc_call call;
    enum status status = ask(access, CALLER_NOBODY, 0, wanted, "t", &call);
    call.has_token = true;
    if (status != STATUS_OK)
        access_refused(access, &call, status);
}

Test(access, uses_and_refusals_are_counted)
{
    struct access access = access_with_tokens(STATUS_OK, permission_bit(PERMISSION_READ));
    size_t at = 0;
    ask_and_count(&access, PERMISSION_READ);
    ask_and_count(&access, PERMISSION_KILL);
    verdict = STATUS_UNAUTHENTICATED;
    ask_and_count(&access, PERMISSION_READ);
    verdict = STATUS_DATA_LOSS; /* a damaged store refuses nobody */
    ask_and_count(&access, PERMISSION_READ);
    const struct token_use_count *use = token_uses_next(&uses, &at);
    cr_assert_not_null(use);
    cr_expect_str_eq(use->accessor, "tok_x");
    cr_expect_gt(use->minute, 0);
    cr_expect_eq(use->denied, 2);
}

Test(access, bad_tokens_get_one_answer_and_a_damaged_store_another)
{
    struct access access = access_with_tokens(STATUS_UNAUTHENTICATED, 0);
    struct rpc_call call, foreign;
    cr_expect_eq(ask(&access, CALLER_NOBODY, 0, PERMISSION_EVERYBODY, "t", &call),
                 STATUS_UNAUTHENTICATED);
    cr_expect_eq(call.caller.kind, CALLER_NOBODY);
    foreign.caller = (struct caller){ .kind = CALLER_TOKEN, .tenant = "beta" };
    cr_expect_eq(access_check_tenant(&foreign.caller, "acme", &foreign.problem),
                 STATUS_UNAUTHENTICATED);
    cr_expect_str_eq(foreign.problem.message, call.problem.message);
    cr_expect_str_eq(foreign.problem.field, call.problem.field);
    verdict = STATUS_DATA_LOSS;
    cr_expect_eq(ask(&access, CALLER_NOBODY, 0, PERMISSION_READ, "t", &call), STATUS_DATA_LOSS);
}

Test(access, a_request_is_narrowed_to_the_tenant_of_its_token)
{
    struct rpc_call call = {
        .method = &method_event_query,
        .caller = { .kind = CALLER_TOKEN, .tenant = "acme" },
    };
    struct access access = access_with_tokens(STATUS_OK, 0);
    struct event_query_request request = { .tenant = "", .type = "", .subject = "" };
    cr_expect_eq(access_narrow(&access, &call, &request), STATUS_OK);
    cr_expect_str_eq(request.tenant, "acme");
    request.tenant = "beta";
    cr_expect_eq(access_narrow(&access, &call, &request), STATUS_UNAUTHENTICATED);
    call.caller.kind = CALLER_OPERATOR;
    cr_expect_eq(access_narrow(&access, &call, &request), STATUS_OK);
    cr_expect_str_eq(request.tenant, "beta");
}

Test(access, what_lasts_ends_with_its_token)
{
    struct access access = access_with_tokens(STATUS_OK, permission_bit(PERMISSION_READ));
    struct rpc_call call;
    struct problem problem = { 0 };
    ask(&access, CALLER_NOBODY, 0, PERMISSION_READ, "t", &call);
    cr_expect_eq(access_still_allows(&access, &call.caller, &problem), STATUS_OK);
    verdict = STATUS_UNAUTHENTICATED;
    cr_expect_eq(access_still_allows(&access, &call.caller, &problem), STATUS_UNAUTHENTICATED);
    cr_expect_eq(
        access_still_allows(&access, &(struct caller){ .kind = CALLER_OPERATOR }, &problem),
        STATUS_OK, "who came without a token needs none");
}

/* ---- over a socket ---- */

static struct access *served_access;
static struct rpc_call seen;

static enum status handle(void *context, struct rpc_call *call, const void *request, void *reply)
{
    (void)context;
    (void)request;
    (void)reply;
    seen = *call;
    return STATUS_OK;
}

static enum status handle_hello(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    const struct daemon_hello_request *hello = request;
    (void)context;
    (void)reply;
    return access_hello(served_access, call, hello->daemon, hello->key);
}

/* Makes one call to a server with this access, after daemon.hello when `key` is not empty. */
static enum status call_over_socket(struct access *access, struct span key, const char *daemon)
{
    static const struct rpc_route routes[] = {
        { &method_daemon_stats, handle },
        { &method_daemon_hello, handle_hello },
        { NULL, NULL },
    };
    const struct rpc_service service = {
        .routes = routes,
        .authorise = access_authorise,
        .access = access,
    };
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct rpc_server *server = NULL;
    uint8_t frame[256];
    struct buffer out = { .limit = 4096 };
    int pair[2];
    served_access = access;
    seen = (struct rpc_call){ 0 };
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(rpc_server_open(&server, loop, &service, -1), STATUS_OK);
    cr_assert_eq(rpc_server_adopt(server, pair[0]), STATUS_OK);
    if (key.size > 0) {
        const struct daemon_hello_request hello = { .daemon = daemon, .key = key };
        struct buffer map = { .limit = 1000 };
        fields_encode(method_daemon_hello.request, &hello, &map);
        message_write_request(&out, 1, "daemon.hello", buffer_span(&map), (struct span){ 0 },
                              (struct span){ 0 });
        buffer_close(&map);
    }
    message_write_request(&out, 2, "daemon.stats", span_of("\x80", 1), (struct span){ 0 },
                          (struct span){ 0 });
    cr_assert_eq(write(pair[1], out.data, out.size), (ssize_t)out.size);
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_NOWAIT);
    ssize_t size = read(pair[1], frame, sizeof frame);
    cr_assert_gt(size, 0);
    struct message message;
    struct problem problem = { 0 };
    struct reader reader = reader_of(span_of(frame, (size_t)size));
    struct span first;
    cr_assert_eq(reader_any(&reader, &first), STATUS_OK);
    cr_assert_eq(message_parse(first, &message), STATUS_OK);
    enum status status =
        message.error.size == 0 ? STATUS_OK : message_parse_error(message.error, &problem);
    close(pair[1]);
    buffer_close(&out);
    rpc_server_close(&server);
    ev_loop_destroy(loop);
    return status;
}

Test(access, a_member_of_the_group_is_an_operator)
{
    struct access access = access_with("uid");
    access.has_operator_group = true;
    access.operator_group = getegid();
    /* The peer is this process: root is an operator anyway, so the group counts for others only. */
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_OK);
    cr_expect_eq(seen.caller.kind, CALLER_OPERATOR);
    cr_expect_eq(seen.caller.uid, geteuid());
    cr_expect_eq(seen.caller.pid, getpid());
}

Test(access, a_stranger_over_a_socket_is_refused)
{
    if (geteuid() == 0)
        cr_assert_eq(setresuid(STRANGER, STRANGER, STRANGER), 0);
    struct access access = access_with("uid");
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_UNAUTHENTICATED);
    access.has_operator_group = true;
    access.operator_group = 54399;
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_UNAUTHENTICATED);
    access.operator_group = getegid();
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_OK);
}

Test(access, a_supplementary_group_counts)
{
    static const gid_t groups[] = { 54398, 54399 };
    if (geteuid() != 0)
        return; /* only root can choose its groups */
    cr_assert_eq(setgroups(2, groups), 0);
    cr_assert_eq(setresgid(STRANGER, STRANGER, STRANGER), 0);
    cr_assert_eq(setresuid(STRANGER, STRANGER, STRANGER), 0);
    struct access access = access_with("uid");
    access.has_operator_group = true;
    access.operator_group = 54399;
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_OK);
    access.operator_group = 54397;
    cr_expect_eq(call_over_socket(&access, (struct span){ 0 }, ""), STATUS_UNAUTHENTICATED);
}

Test(access, who_presents_the_runs_key_is_a_daemon)
{
    struct access access = access_with("token");
    cr_expect_eq(call_over_socket(&access, span_of(run_key, 32), "deployd"), STATUS_OK);
    cr_expect_eq(seen.caller.kind, CALLER_DAEMON);
    cr_expect_str_eq(seen.caller.daemon, "deployd");
}

Test(access, another_key_makes_no_daemon)
{
    struct access access = access_with("uid");
    uint8_t wrong[32];
    memcpy(wrong, run_key, sizeof wrong);
    wrong[31] ^= 1;
    cr_expect_eq(call_over_socket(&access, span_of(wrong, 32), "deployd"), STATUS_UNAUTHENTICATED);
    cr_expect_neq(seen.caller.kind, CALLER_DAEMON);
    cr_expect_eq(call_over_socket(&access, span_of(run_key, 31), "deployd"), STATUS_UNAUTHENTICATED,
                 "a part of it");
    access.has_run_key = false;
    cr_expect_eq(call_over_socket(&access, span_of(run_key, 32), "deployd"), STATUS_UNAUTHENTICATED,
                 "without a key nobody is a daemon");
    memset(access.run_key, 0, sizeof access.run_key);
    memset(wrong, 0, sizeof wrong);
    cr_expect_eq(call_over_socket(&access, span_of(wrong, 32), "deployd"), STATUS_UNAUTHENTICATED,
                 "nor with the zeroes that stand there");
}

Test(access, a_daemons_name_has_a_bound)
{
    struct access access = access_with("uid");
    cr_expect_eq(call_over_socket(&access, span_of(run_key, 32), "sixteen-letters."),
                 STATUS_INVALID_ARGUMENT);
}
