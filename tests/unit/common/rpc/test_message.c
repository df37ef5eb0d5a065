/* The three shapes, and errors as they travel. */
#include "common/base/auto.h"
#include "common/base/name.h"
#include "common/rpc/message.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"

static void roundtrip(const struct problem *problem, struct problem *read)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 4096 };
    struct message message;
    message_write_error(&buffer, 3, problem);
    cr_assert_eq(message_parse(buffer_span(&buffer), &message), STATUS_OK);
    cr_assert_eq(message.kind, MESSAGE_REPLY);
    cr_expect_eq(message.msgid, 3);
    char text[600];
    cr_expect(utf8_is_valid(span_of_text(map_text(message.error, "message", text, sizeof text))));
    cr_expect_eq(message_parse_error(message.error, read), read->code);
}

Test(message, an_error_travels_whole)
{
    struct problem problem, read;
    problem_set(&problem, STATUS_RESOURCE_EXHAUSTED, "argv[3]", "is too long");
    problem.retry_after_ms = 250;
    roundtrip(&problem, &read);
    cr_expect_eq(read.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(read.field, "argv[3]");
    cr_expect_str_eq(read.message, "is too long");
    cr_expect_eq(read.retry_after_ms, 250);
}

Test(message, how_a_process_ends_does_not_travel)
{
    static const enum status local[] = { STATUS_OK, STATUS_USAGE, STATUS_LOCKED, STATUS_IO };
    for (size_t i = 0; i < COUNT_OF(local); i++) {
        struct problem problem = { .code = local[i] }, read;
        roundtrip(&problem, &read);
        cr_expect_eq(read.code, STATUS_INTERNAL);
        cr_expect_str_neq(read.message, "");
    }
}

Test(message, broken_characters_are_replaced)
{
    struct problem problem = { .code = STATUS_NOT_FOUND }, read;
    strcpy(problem.message, "no file na\xefve");
    roundtrip(&problem, &read);
    cr_expect_str_eq(read.message, "no file na?ve");
}

Test(message, an_error_that_is_no_map_is_unknown)
{
    struct problem problem;
    cr_expect_eq(message_parse_error(span_of("\xa4oops", 5), &problem), STATUS_UNKNOWN);
    cr_expect_str_neq(problem.message, "");
    cr_expect_eq(message_parse_error(span_of("\x81\xa4"
                                             "code\xa2ok",
                                             9),
                                     &problem),
                 STATUS_UNKNOWN, "an error is never ok");
}

Test(message, peeks_into_a_request_that_is_not_complete)
{
    static const char frame[] = "\x94\x00\xcd\x01\x00\xa3x.y\x91";
    uint64_t msgid;
    struct span method;
    for (size_t size = 0; size < sizeof frame - 1; size++)
        cr_expect_eq(message_peek_request(span_of(frame, size), &msgid, &method), size >= 9,
                     "at %zu", size);
    cr_expect_eq(msgid, 256);
    cr_expect(span_equal(method, span_of_text("x.y")));
}
