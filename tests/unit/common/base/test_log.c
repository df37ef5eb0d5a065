#include "common/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/criterion.h"

/* What was logged since capture(), from a file that took the place of standard error. */
static FILE *captured;

static void capture(void)
{
    captured = tmpfile();
    cr_assert_not_null(captured);
    cr_assert_geq(dup2(fileno(captured), STDERR_FILENO), 0);
}

static const char *logged(void)
{
    static char text[8192];
    rewind(captured);
    text[fread(text, 1, sizeof text - 1, captured)] = '\0';
    return text;
}

Test(log, a_line_carries_time_level_program_pid_and_pairs, .init = capture)
{
    log_setup("eventd", LOG_LEVEL_INFO);
    log_info("store opened", "dir", "/data", "events", NUMBER(-7));
    char expected[128];
    snprintf(expected, sizeof expected,
             " level=info program=eventd pid=%d msg=\"store opened\" dir=/data events=-7\n",
             (int)getpid());
    const char *line = logged();
    cr_assert_not_null(strstr(line, expected), "%s", line);
    cr_assert_eq(line[4], '-');
    cr_assert_eq(line[23], 'Z');
}

Test(log, the_pid_of_another_namespace_can_be_said, .init = capture)
{
    log_setup("tenantd", LOG_LEVEL_INFO);
    log_set_pid(4711);
    log_info("supervising");
    cr_assert_not_null(strstr(logged(), " program=tenantd pid=4711 msg=supervising\n"));
}

Test(log, lines_for_the_journal_begin_with_their_priority, .init = capture)
{
    struct stat status;
    char stream[64];
    cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%lu:%lu", (unsigned long)status.st_dev,
             (unsigned long)status.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    log_setup("eventd", LOG_LEVEL_INFO);
    log_info("elsewhere"); /* the stream is somebody else's */
    snprintf(stream, sizeof stream, "%lu:%lu", (unsigned long)status.st_dev,
             (unsigned long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_setup("eventd", LOG_LEVEL_INFO);
    log_info("here");
    cr_expect_eq(log_failure(STATUS_IO, "read"), STATUS_IO);
    const char *lines = logged();
    cr_expect_eq(lines[0], '2', "%s", lines);
    cr_expect_not_null(strstr(lines, "\n<6>2"), "%s", lines);
    cr_expect_not_null(strstr(lines, "\n<3>2"), "%s", lines);
}

static struct log_record kept;
static char kept_text[128], kept_pairs[128];

static bool keep(const struct log_record *record)
{
    kept = *record;
    snprintf(kept_text, sizeof kept_text, "%s", record->text);
    kept_pairs[0] = '\0';
    for (size_t i = 0; i < record->pair_count; i++) {
        size_t used = strlen(kept_pairs);
        snprintf(kept_pairs + used, sizeof kept_pairs - used, "%s=%s;", record->pairs[i].key,
                 record->pairs[i].value);
    }
    return record->level != LOG_LEVEL_WARNING;
}

Test(log, a_keeper_has_the_pairs_and_what_it_does_not_take_is_a_line, .init = capture)
{
    log_setup("eventd", LOG_LEVEL_INFO);
    log_set_keeper(keep);
    cr_expect_eq(log_failure(STATUS_IO, "read a row", "tenant", "acme", "reason", "it is torn"),
                 STATUS_IO);
    cr_expect_str_eq(kept_text, "read a row status=io tenant=acme reason=\"it is torn\"");
    cr_expect_str_eq(kept_pairs, "tenant=acme;reason=it is torn;");
    cr_expect_str_eq(kept.program, "eventd");
    cr_expect_eq(log_priority(kept.level), 3);
    cr_expect_str_eq(logged(), "");
    log_warning("not taken", "key", NULL);
    cr_expect_not_null(strstr(logged(), " level=warning program=eventd "));
    log_set_keeper(NULL);
}

static char diverted[64];

static void divert(const char *what, const char *reason)
{
    snprintf(diverted, sizeof diverted, "%s: %s", what, reason);
}

Test(log, the_last_failure_is_kept_for_last_words, .init = capture)
{
    cr_assert_str_eq(log_last_failure(), "");
    log_failure(STATUS_IO, "read", "reason", "torn");
    cr_assert_str_eq(log_last_failure(), "read: torn");
    log_failure(STATUS_NOT_FOUND, "open", "path", "/x", "bytes", "7");
    cr_assert_str_eq(log_last_failure(), "open /x: not found");
}

Test(log, failures_go_to_the_sink_while_there_is_one, .init = capture)
{
    log_divert_failures(divert);
    cr_expect_eq(log_failure(STATUS_IO, "read", "path", "/x", "reason", "torn"), STATUS_IO);
    cr_expect_str_eq(diverted, "read: torn");
    log_failure(STATUS_IO, "write", "path", "/x");
    cr_expect_str_eq(diverted, "write: ");
    log_divert_failures(NULL);
    cr_expect_str_empty(logged());
    log_failure(STATUS_IO, "sync");
    cr_expect_not_null(strstr(logged(), "msg=sync"));
}

Test(log, values_that_could_be_misread_are_quoted, .init = capture)
{
    log_error("x", "empty", "", "blank", "a b", "quote", "a\"b", "equals", "a=b", "slash", "a \\ b",
              "none", NULL);
    cr_assert_not_null(strstr(logged(), " empty=\"\" blank=\"a b\" quote=\"a\\\"b\" equals=\"a=b\" "
                                        "slash=\"a \\\\ b\" none=\"\"\n"),
                       "%s", logged());
}

Test(log, control_characters_cannot_forge_a_line_or_move_the_cursor, .init = capture)
{
    log_error("x", "value", "a\nlevel=error msg=forged\x1b[2J\x7f\t");
    const char *line = logged();
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1, "one line: %s", line);
    cr_assert_not_null(strstr(line, "value=\"a?level=error msg=forged?[2J??\""), "%s", line);
}

Test(log, control_characters_above_ascii_and_broken_text_are_hidden, .init = capture)
{
    log_error("x", "c1",
              "a\xc2\x9b"
              "2Jb",
              "broken",
              "a\x9b\xff"
              "b",
              "fine", "gr\xc3\xbc\xc3\x9f");
    cr_assert_not_null(strstr(logged(), " c1=\"a?2Jb\" broken=\"a??b\" fine=gr\xc3\xbc\xc3\x9f\n"),
                       "%s", logged());
}

Test(log, a_line_that_is_too_long_is_cut_and_ended, .init = capture)
{
    static char text[5000];
    memset(text, 'a', sizeof text - 1);
    log_error("x", "value", text);
    log_error("y");
    const char *line = logged();
    cr_assert_eq(strchr(line, '\n') - line, 2047);
    cr_assert_not_null(strstr(line, "msg=y\n"), "the next one is whole");
}

Test(log, only_what_reaches_the_level_is_written, .init = capture)
{
    log_setup("x", LOG_LEVEL_WARNING);
    log_debug("one");
    log_info("two");
    cr_assert_str_eq(logged(), "");
    log_warning("three");
    cr_assert_not_null(strstr(logged(), "msg=three"));
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("four");
    cr_assert_not_null(strstr(logged(), "level=debug"));
}

Test(log, failure_names_and_returns_its_status, .init = capture)
{
    cr_assert_eq(log_failure(STATUS_DATA_LOSS, "open", "path", "/x"), STATUS_DATA_LOSS);
    cr_assert_not_null(strstr(logged(), "msg=open status=data_loss path=/x\n"), "%s", logged());
}

Test(log, levels_have_names)
{
    enum log_level level = LOG_LEVEL_DEBUG;
    cr_assert_eq(log_level_parse("warning", &level), STATUS_OK);
    cr_assert_eq(level, LOG_LEVEL_WARNING);
    cr_assert_eq(log_level_parse("loud", &level), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(log_level_parse("", &level), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(level, LOG_LEVEL_WARNING, "written only on success");
}
