/* P1 to P5 and P8 to P10, by means that share nothing with the programs but the log's text. */
#include "tests/faults/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/support/process.h"
#include "tests/support/services.h"

enum { SETTLE_MS = 60000, PAUSE_MS = 100, PROCESSES_MAX = 4096 };

void judge_close(struct judge *judge)
{
    free(judge->hashes);
}

json_t *judge_read_log(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "log", "-o", "jsonl", NULL);
    if (result.exit_code != 0)
        test_fail("P3: recoveryd log ended with %d: %s", result.exit_code, result_err(&result));
    json_t *events = json_array();
    for (const char *line = result_out(&result); *line != '\0';) {
        json_error_t error;
        json_t *event = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
        if (event == NULL)
            test_fail("recoveryd log: %s in %.200s", error.text, line);
        json_array_append_new(events, event);
        const char *end = strchr(line, '\n');
        line = end == NULL ? "" : end + 1;
    }
    return events;
}

/* P3: 1, 2, 3, ..., and nothing that was there is another thing now. */
static void judge_numbers(struct judge *judge, const json_t *events)
{
    size_t count = json_array_size(events);
    if (count < judge->hash_count)
        test_fail("P1: the log had %zu events and now has %zu", judge->hash_count, count);
    if (count > judge->hash_capacity) {
        judge->hash_capacity = 2 * count;
        judge->hashes = realloc(judge->hashes, judge->hash_capacity * sizeof *judge->hashes);
        if (judge->hashes == NULL)
            test_fail("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *event = json_array_get(events, i);
        if (number_in(event, "id") != i + 1)
            test_fail("P3: event %lu stands at place %zu", (unsigned long)number_in(event, "id"),
                      i + 1);
        const char *hash = text_in(event, "hash");
        if (hash == NULL || strlen(hash) >= sizeof judge->hashes[0])
            test_fail("event %zu has no hash", i + 1);
        if (i < judge->hash_count && strcmp(judge->hashes[i], hash) != 0)
            test_fail("P3: event %zu is another one now", i + 1);
        snprintf(judge->hashes[i], sizeof judge->hashes[i], "%s", hash);
    }
    judge->hash_count = count;
    judge->events = count;
}

static const char *token_of(const json_t *event)
{
    const json_t *payload = json_object_get(event, "payload");
    const json_t *argv = json_object_get(json_object_get(payload, "spec"), "argv");
    if (argv != NULL)
        return json_string_value(json_array_get(argv, 2));
    return text_in(payload, "token");
}

/* P1 and P2: every acknowledgement has its event, every request at most one. */
static void judge_ledger(struct judge *judge, const json_t *events, struct ledger *ledger)
{
    json_t *by_request = json_object();
    size_t i;
    json_t *event;
    json_array_foreach(events, i, event)
    {
        const char *id = text_in(event, "request_id");
        const char *type = text_in(event, "type");
        if (id == NULL || (strcmp(type, "service_deployed") != 0 &&
                           strcmp(type, "service_killed") != 0 && strcmp(type, "app.ledger") != 0))
            continue;
        if (json_object_get(by_request, id) != NULL)
            test_fail("P2: request %s is in the log twice: %lu and %lu", id,
                      (unsigned long)number_in(json_object_get(by_request, id), "id"),
                      (unsigned long)number_in(event, "id"));
        json_object_set(by_request, id, event);
    }
    uint64_t acknowledged = 0, lost = 0;
    for (size_t k = 0; k < ledger->count; k++) {
        struct ledger_entry entry = ledger_get(ledger, k);
        if (entry.event_id == 0)
            continue;
        acknowledged++;
        const json_t *found = json_object_get(by_request, entry.request_id);
        const char *token = entry.kind == LEDGER_KILL ? entry.token : token_of(found);
        char subject[SERVICE_KEY_BYTES + 16];
        snprintf(subject, sizeof subject, "service/%s", entry.key);
        if (found == NULL || number_in(found, "id") != entry.event_id ||
            strcmp(text_in(found, "type"), ledger_event_type(entry.kind)) != 0 || token == NULL ||
            strcmp(token, entry.token) != 0 ||
            (entry.kind != LEDGER_APPEND && strcmp(text_in(found, "subject"), subject) != 0)) {
            fprintf(stderr, "lost: %s %s %s, acknowledged as %lu, in the log as %lu\n",
                    ledger_event_type(entry.kind), entry.key, entry.request_id,
                    (unsigned long)entry.event_id, (unsigned long)number_in(found, "id"));
            lost++;
        }
    }
    if (lost != 0)
        test_fail("P1: %lu of %lu acknowledged requests are lost", (unsigned long)lost,
                  (unsigned long)acknowledged);
    judge->acknowledged = acknowledged;
    json_decref(by_request);
}

json_t *judge_fold(const json_t *events)
{
    json_t *wanted = json_object(), *previous = json_object();
    size_t i;
    json_t *event;
    json_array_foreach(events, i, event)
    {
        const char *type = text_in(event, "type"), *subject = text_in(event, "subject");
        if (subject == NULL || strncmp(subject, "service/", 8) != 0)
            continue;
        const char *key = subject + 8;
        uint64_t named = number_in(json_object_get(event, "payload"), "generation");
        json_t *current = json_object_get(wanted, key);
        bool is_current = current != NULL && number_in(current, "generation") == named;
        if (strcmp(type, "service_deployed") == 0) {
            if (current != NULL)
                json_object_set(previous, key, current);
            else
                json_object_del(previous, key);
            const char *token = token_of(event);
            json_object_set_new(wanted, key,
                                json_pack("{s:I, s:s}", "generation",
                                          (json_int_t)number_in(event, "id"), "token",
                                          token == NULL ? "" : token));
        } else if (strcmp(type, "service_killed") == 0 ||
                   (strcmp(type, "service_completed") == 0 && is_current)) {
            json_object_del(wanted, key);
            json_object_del(previous, key);
        } else if (strcmp(type, "service_deployment_failed") == 0 && is_current) {
            json_t *before = json_object_get(previous, key);
            if (before != NULL)
                json_object_set(wanted, key, before);
            else
                json_object_del(wanted, key);
            json_object_del(previous, key);
        }
    }
    json_decref(previous);
    return wanted;
}

/* P5, and what every client was told of its own services. */
static void judge_beliefs(const json_t *wanted, const struct clients *clients)
{
    for (unsigned c = 0; c < CLIENTS; c++)
        for (unsigned s = 0; s < SERVICES_PER_CLIENT; s++) {
            const struct belief *belief = &clients->clients[c].beliefs[s];
            const json_t *row = json_object_get(wanted, belief->key);
            if (!belief->is_wanted && row != NULL)
                test_fail("P5: %s was killed and is wanted as generation %lu", belief->key,
                          (unsigned long)number_in(row, "generation"));
            if (belief->is_wanted && row == NULL)
                test_fail("P5: %s was deployed and is not wanted", belief->key);
            if (row != NULL && strcmp(text_in(row, "token"), belief->token) != 0)
                test_fail("P1: %s should run %s, the log wants %s", belief->key, belief->token,
                          text_in(row, "token"));
        }
}

/* The live sleepers: TENANT/NAME to a list of [token, pid]. */
static json_t *live_processes(const struct testbed *bed)
{
    static pid_t pids[PROCESSES_MAX];
    AUTO(buffer_close) struct buffer line = { .limit = 1 << 20 };
    char path[4096];
    size_t count = process_find(testbed_program(bed, "sleeper", path), pids, PROCESSES_MAX);
    json_t *live = json_object();
    for (size_t i = 0; i < count && i < PROCESSES_MAX; i++) {
        if (!process_read(pids[i], "cmdline", &line) || line.size == 0)
            continue;
        /* an argv of three: program, key, token */
        const char *program = (const char *)line.data;
        const char *key = program + strlen(program) + 1;
        if (strcmp(program, path) != 0 || key >= program + line.size)
            continue;
        const char *token = key + strlen(key) + 1;
        json_t *list = json_object_get(live, key);
        if (list == NULL) {
            list = json_array();
            json_object_set_new(live, key, list);
        }
        json_array_append_new(
            list, json_pack("[s, i]", token < program + line.size ? token : "", (int)pids[i]));
    }
    return live;
}

/* Whether they all are there at once: /proc is read one after the other, and one may have gone
 * before the next one came. */
static bool are_double(const json_t *instances)
{
    size_t i;
    json_t *instance;
    json_array_foreach(instances, i, instance)
    {
        if (!process_is_alive((pid_t)json_integer_value(json_array_get(instance, 1))))
            return false;
    }
    return json_array_size(instances) > 1;
}

/* NULL when each wanted service has its one process and there is no other; else the first that does
 * not fit. *is_double: more than one instance was seen, which no waiting excuses. */
static const char *compare(const json_t *wanted, const json_t *live, bool *is_double)
{
    const char *key;
    json_t *value;
    const char *first = NULL;
    *is_double = false;
    json_object_foreach((json_t *)wanted, key, value)
    {
        const json_t *instance = json_array_get(json_object_get(live, key), 0);
        const char *token = json_string_value(json_array_get(instance, 0));
        if (token == NULL || strcmp(token, text_in(value, "token")) != 0)
            first = key;
    }
    json_object_foreach((json_t *)live, key, value)
    {
        if (json_array_size(value) != 1 || json_object_get(wanted, key) == NULL)
            first = key;
        if (are_double(value)) {
            *is_double = true;
            return key;
        }
    }
    return first;
}

/* What a person would look at first. */
static void show_story(const struct testbed *bed, const char *key)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "describe", key, NULL);
    fprintf(stderr, "%s%s", result_out(&result), result_err(&result));
    testbed_soloctl(bed, &result, "events", "--service", key, "-n", "30", NULL);
    fprintf(stderr, "%s%s", result_out(&result), result_err(&result));
    testbed_soloctl(bed, &result, "status", NULL);
    fprintf(stderr, "%s%s", result_out(&result), result_err(&result));
    const char *const argv[] = { "/usr/bin/tail", "-n", "400", bed->log, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                &result);
    fprintf(stderr, "%s", result_out(&result));
}

size_t judge_processes(const struct testbed *bed, const json_t *wanted)
{
    uint64_t end = clock_boottime_ns() + (uint64_t)SETTLE_MS * 1000000;
    for (;;) {
        json_t *live = live_processes(bed);
        bool is_double;
        const char *key = compare(wanted, live, &is_double);
        size_t count = json_object_size(live);
        if (key == NULL) {
            json_decref(live);
            return count;
        }
        if (is_double || clock_boottime_ns() > end) {
            char *is = json_dumps(json_object_get(live, key), JSON_ENCODE_ANY);
            char *should = json_dumps(json_object_get(wanted, key), JSON_ENCODE_ANY);
            show_story(bed, key);
            test_fail("P4: %s: wanted %s, running %s%s", key, should == NULL ? "nothing" : should,
                      is == NULL ? "nothing" : is, is_double ? " (somewhere twice)" : "");
        }
        json_decref(live);
        sleep_ms(20);
    }
}

/* P10: the live tail has everything, each event once. */
static void judge_watcher(struct watcher *watcher, uint64_t last)
{
    char complaint[256];
    uint64_t end = clock_boottime_ns() + (uint64_t)SETTLE_MS * 1000000;
    uint64_t seen;
    while ((seen = watcher_seen(watcher, complaint)) < last && complaint[0] == '\0') {
        if (clock_boottime_ns() > end)
            test_fail("P10: a watch has seen %lu of %lu events", (unsigned long)seen,
                      (unsigned long)last);
        sleep_ms(10);
    }
    if (complaint[0] != '\0')
        test_fail("P10: %s", complaint);
}

static bool has_nothing_to_do(const struct testbed *bed, size_t wanted, struct result *result)
{
    testbed_recoveryd(bed, result, "--dry-run", "-o", "json", NULL);
    if (result->exit_code != 0)
        test_fail("recoveryd --dry-run ended with %d: %s", result->exit_code, result_err(result));
    json_t *plan = result_json(result);
    bool has_nothing = !json_is_true(json_object_get(plan, "has_changes")) &&
                       number_in(json_object_get(plan, "summary"), "keep") == wanted;
    json_decref(plan);
    return has_nothing;
}

/* The processes are there a moment before deployd has heard of them. That is no oversight of its
 * own, which it finds by looking around every 30 s, and says so. */
static void judge_recoveryd(const struct testbed *bed, size_t wanted)
{
    static const char oversight[] = "wanted and nobody is at it";
    AUTO(result_close) struct result result = { 0 };
    size_t oversights = testbed_log_count(bed, oversight);
    testbed_recoveryd(bed, &result, "verify", "--full", NULL);
    if (result.exit_code != 0)
        test_fail("recoveryd verify --full ended with %d:\n%s%s", result.exit_code,
                  result_out(&result), result_err(&result));
    for (int left_ms = SETTLE_MS; !has_nothing_to_do(bed, wanted, &result); left_ms -= PAUSE_MS) {
        if (left_ms <= 0)
            test_fail("P8: something is left to do: %s", result_out(&result));
        sleep_ms(PAUSE_MS);
    }
    if (testbed_log_count(bed, oversight) != oversights)
        test_fail("P8: deployd had overlooked something, which recoveryd would have done");
}

void judge_round(struct judge *judge, struct testbed *bed, struct ledger *ledger,
                 struct clients *clients, struct watcher *watcher)
{
    /* The processes first: while they settle, their reports are written. */
    json_t *events = judge_read_log(bed);
    json_t *wanted = judge_fold(events);
    judge_beliefs(wanted, clients);
    judge->processes = judge_processes(bed, wanted);
    judge_recoveryd(bed, json_object_size(wanted));
    json_decref(events);
    json_decref(wanted);

    events = judge_read_log(bed);
    wanted = judge_fold(events);
    judge_numbers(judge, events);
    judge_ledger(judge, events, ledger);
    judge_beliefs(wanted, clients);
    judge_watcher(watcher, json_array_size(events));
    judge->rounds++;
    json_decref(events);
    json_decref(wanted);
}
