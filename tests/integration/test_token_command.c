/* soloctl token, from the grant to the revocation, and where the text of a token must not be. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/base/auto.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(token_command, .timeout = 180);

static char token[TOKEN_TEXT_BYTES], accessor[64];

static void create(const struct testbed *bed, const char *permissions, const char *ttl)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "token", "create", "-t", "acme", "--permission", permissions,
                    "--ttl", ttl, "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    cr_assert_gt(number_in(document, "event_id"), 0);
    snprintf(token, sizeof token, "%s", text_in(document, "token"));
    snprintf(accessor, sizeof accessor, "%s", text_in(document, "accessor"));
    json_decref(document);
    cr_assert(token_text_is_valid(span_of_text(token)));
}

static void expect_verified(const struct testbed *bed, const char *text, const char *permission,
                            int exit_code)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl_input(bed, &result, text, "token", "verify", "--permission", permission, NULL);
    expect_exit(&result, exit_code);
}

Test(token_command, a_token_is_granted_used_attenuated_renewed_and_revoked)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char file[512], child[512];
    struct stat stat_of;
    testbed_open(&bed, 0);
    testbed_start(&bed);
    snprintf(file, sizeof file, "%s/parent.token", bed.dir);
    snprintf(child, sizeof child, "%s/child.token", bed.dir);
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "deploy,read",
                    "--metadata", "{\"for\": \"agent 7\"}", "--out", file, NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), "", "it went into the file");
    cr_assert_eq(stat(file, &stat_of), 0);
    cr_assert_eq(stat_of.st_mode & 0777, 0600);
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", "--out",
                    file, NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "is there already");

    testbed_soloctl(&bed, &result, "--token-file", file, "get", "services", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "--token-file", file, "kill", "acme/api", NULL);
    expect_exit(&result, 5);
    testbed_soloctl(&bed, &result, "--token-file", file, "token", "attenuate", "--permission",
                    "kill", "--out", child, NULL);
    cr_assert_neq(result.exit_code, 0, "a child is never wider");
    cr_assert_neq(access(child, F_OK), 0, "a refused grant leaves no file");
    testbed_soloctl(&bed, &result, "--token-file", file, "token", "attenuate", "--permission",
                    "read", "--ttl", "1h", "--out", child, "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *attenuated = result_json(&result);
    expect_text(attenuated, "tenant", "acme"); /* its parent's */
    json_decref(attenuated);
    testbed_soloctl(&bed, &result, "--token-file", child, "token", "verify", "--permission", "read",
                    NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "token", "list", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "expires soon");
    testbed_soloctl(&bed, &result, "--token-file", file, "token", "describe", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    snprintf(accessor, sizeof accessor, "%s", text_in(document, "accessor"));
    expect_text(json_object_get(document, "metadata"), "for", "agent 7");
    json_decref(document);

    testbed_soloctl(&bed, &result, "token", "revoke", accessor, NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "--token-file", child, "token", "verify", "--permission", "read",
                    NULL);
    expect_exit(&result, 5);
    testbed_soloctl(&bed, &result, "--token-file", file, "get", "services", NULL);
    expect_exit(&result, 5);
}

/* By then the token itself is refused. */
Test(token_command, a_token_that_ends_itself_is_answered_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char file[512], id[UUID_TEXT_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    snprintf(file, sizeof file, "%s/own.token", bed.dir);
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", "--out",
                    file, NULL);
    expect_exit(&result, 0);
    struct uuid drawn = uuid_draw();
    uuid_text(id, &drawn);
    for (int i = 0; i < 3; i++) {
        testbed_soloctl(&bed, &result, "--token-file", file, "--request-id", id, "token", "revoke",
                        NULL);
        expect_exit(&result, 0);
        if (i == 1)
            testbed_kill_everything(&bed);
        if (i == 1)
            testbed_start(&bed);
    }
    testbed_soloctl(&bed, &result, "--token-file", file, "token", "revoke", NULL);
    expect_exit(&result, 5); /* another request */
    testbed_soloctl(&bed, &result, "--token-file", file, "--request-id", id, "token", "describe",
                    NULL);
    expect_exit(&result, 5);
}

Test(token_command, verification_works_without_tokend_and_after_a_crash)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    create(&bed, "read", "1h");
    pid_t tokend = testbed_daemon(&bed, "tokend");
    cr_assert_gt(tokend, 0);
    process_signal(tokend, SIGSTOP);
    expect_verified(&bed, token, "read", 0);
    expect_verified(&bed, token, "kill", 5);
    process_signal(tokend, SIGKILL);
    expect_verified(&bed, token, "read", 0);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    expect_verified(&bed, token, "read", 0);
}

/* Files below `dir` in which the text stands. */
static int count_files(const char *dir, const char *text)
{
    int found = 0;
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char path[4096];
        struct stat file;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(path, &file) != 0)
            continue;
        if (S_ISDIR(file.st_mode))
            found += count_files(path, text);
        AUTO(buffer_close) struct buffer content = { .limit = 512 << 20 };
        FILE *stream = S_ISREG(file.st_mode) ? fopen(path, "r") : NULL;
        char chunk[65536];
        for (size_t size; stream != NULL && (size = fread(chunk, 1, sizeof chunk, stream)) > 0;)
            buffer_append(&content, chunk, size);
        if (stream != NULL)
            fclose(stream);
        if (content.size > 0 && memmem(content.data, content.size, text, strlen(text)) != NULL) {
            fprintf(stderr, "it stands in %s\n", path);
            found++;
        }
    }
    if (folder != NULL)
        closedir(folder);
    return found;
}

Test(token_command, the_text_of_a_token_is_nowhere)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(buffer_close) struct buffer content = { .limit = 1 << 20 };
    pid_t pids[64];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_LOG_LEVEL", "debug");
    testbed_start(&bed);
    create(&bed, "deploy,read", "1h");
    expect_verified(&bed, token, "read", 0);
    expect_verified(&bed, token, "kill", 5);
    char spoiled[TOKEN_TEXT_BYTES];
    snprintf(spoiled, sizeof spoiled, "%s", token);
    spoiled[20] = spoiled[20] == 'a' ? 'b' : 'a';
    expect_verified(&bed, spoiled, "read", 5);
    cr_assert_eq(count_files(bed.dir, "capability_granted") > 0, true, "the search finds what is");
    cr_assert_eq(count_files(bed.dir, token), 0);
    cr_assert_eq(count_files(bed.dir, spoiled), 0);
    size_t count = testbed_processes(&bed, pids, COUNT_OF(pids));
    for (size_t i = 0; i < count && i < COUNT_OF(pids); i++) {
        static const char *const files[] = { "cmdline", "environ" };
        for (size_t k = 0; k < COUNT_OF(files); k++)
            if (process_read(pids[i], files[k], &content))
                cr_assert_null(memmem(content.data, content.size, token, strlen(token)));
    }
}

static void expect_refused_file(const struct testbed *bed, const char *path, const char *why)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "--token-file", path, "token", "verify", NULL);
    cr_assert_neq(result.exit_code, 0);
    cr_assert(strstr(result_err(&result), why), "%s", result_err(&result));
}

Test(token_command, a_pipe_or_file_of_others_holds_no_token)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char path[4200];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    snprintf(path, sizeof path, "%s/pipe", bed.run);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(chmod(path, 0666), 0);
    expect_refused_file(&bed, path, "chmod 600");
    snprintf(path, sizeof path, "%s/file", bed.run);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    if (geteuid() == 0) {
        cr_assert_eq(chown(path, 65534, 65534), 0);
        expect_refused_file(&bed, path, "belongs to another user");
    }
}
