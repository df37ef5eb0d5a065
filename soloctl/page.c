/* Lines of a page: a label, and what stands behind it; and those of a spec. */
#include "soloctl/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/size.h"
#include "soloctl/text.h"

void page_label(const char *name)
{
    printf("%-14s", name);
}

void page_line(const char *name, const char *text)
{
    page_label(name);
    text_print(stdout, text == NULL || text[0] == '\0' ? "-" : text);
    printf("\n");
}

/* A command line that could be pasted: what a shell would take apart is quoted. */
static void print_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_{}";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        printf("%s", word);
        return;
    }
    printf("'");
    for (const char *quote; (quote = strchr(word, '\'')) != NULL; word = quote + 1) {
        text_print_span(stdout, span_of(word, (size_t)(quote - word)), false);
        printf("'\\''");
    }
    text_print(stdout, word);
    printf("'");
}

static void line_words(const char *name, struct str_list words)
{
    page_label(name);
    for (size_t i = 0; i < words.count; i++) {
        printf(i == 0 ? "" : " ");
        print_word(words.items[i]);
    }
    printf(words.count == 0 ? "-\n" : "\n");
}

static void print_ready(const struct spec *spec)
{
    char within[DURATION_TEXT_BYTES];
    duration_text(within, spec->ready.timeout_ms);
    page_label("Ready");
    switch (spec->ready.by) {
    case READY_STARTED:
        printf("when started\n");
        break;
    case READY_NOTIFY:
        printf("when it says so, within %s\n", within);
        break;
    case READY_TCP:
        printf("when port %" PRIu64 " takes connections, within %s\n", spec->ready.port, within);
        break;
    case READY_EXEC:
        printf("when this succeeds, within %s\n", within);
        line_words("  Probe", spec->ready.argv);
        break;
    }
}

static void print_secrets(const struct spec *spec)
{
    char variable[NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < spec->secret_count; i++) {
        const struct spec_secret *secret = &spec->secrets[i];
        page_label(i == 0 ? "Secrets" : "");
        printf("%s as %s", secret->name,
               secret->is_env ? spec_secret_variable(variable, secret->name) : "file");
        if (secret->version != 0)
            printf(", version %" PRIu64, secret->version);
        printf(secret->is_optional ? ", optional\n" : "\n");
    }
}

static void print_restart(const struct spec *spec)
{
    char first[DURATION_TEXT_BYTES], longest[DURATION_TEXT_BYTES], window[DURATION_TEXT_BYTES];
    page_label("Restart");
    if (spec->restart.policy == RESTART_NEVER)
        printf("never\n");
    else
        printf("%s, after %s to %s; parked after %" PRIu64 " crashes in %s\n",
               spec->restart.policy == RESTART_ALWAYS ? "always" : "on-failure",
               duration_text(first, spec->restart.initial_ms),
               duration_text(longest, spec->restart.max_ms), spec->restart.max_restarts,
               duration_text(window, spec->restart.window_ms));
}

static void print_limits(const struct spec_limits *limits)
{
    char size[SIZE_TEXT_BYTES];
    const char *between = "";
    page_label("Limits");
    if (limits->memory_bytes != 0) {
        printf("memory %s", size_text(size, limits->memory_bytes));
        between = ", ";
    }
    if (limits->tasks != 0) {
        printf("%stasks %" PRIu64, between, limits->tasks);
        between = ", ";
    }
    if (limits->files != 0) {
        printf("%sfiles %" PRIu64, between, limits->files);
        between = ", ";
    }
    if (limits->cpu_milli != 0)
        printf("%scpu %g", between, (double)limits->cpu_milli / 1e3);
    printf("\n");
}

void page_spec(const struct spec *spec, bool shows_limits)
{
    char grace[DURATION_TEXT_BYTES], size[SIZE_TEXT_BYTES];
    if (spec->code.size > 0) {
        line_words(spec_is_built(spec) ? "Build" : "Interpreter",
                   spec_is_built(spec) ? spec->build : spec->interpreter);
        page_label("Code");
        printf("%zu byte%s\n", spec->code.size, spec->code.size == 1 ? "" : "s");
    }
    line_words(spec->code.size > 0 && !spec_is_built(spec) ? "Arguments" : "Command", spec->argv);
    for (size_t i = 0; i < spec->env_count; i++) {
        page_label(i == 0 ? "Environment" : "");
        text_print(stdout, spec->env[i].key);
        printf("=");
        text_print(stdout, spec->env[i].value);
        printf("\n");
    }
    page_line("Directory", spec->working_dir[0] == '\0' ? "its own" : spec->working_dir);
    print_secrets(spec);
    print_restart(spec);
    page_label("Stop");
    printf("SIG%s, killed after %s\n", signal_text(spec->stop.signal),
           duration_text(grace, spec->stop.timeout_ms));
    print_ready(spec);
    if (shows_limits && spec_limits_are_given(&spec->limits))
        print_limits(&spec->limits);
    page_label("Logs");
    printf("%" PRIu64 " files of %s\n", spec->logs.files, size_text(size, spec->logs.max_bytes));
}
