/* Every word of every table is explained, with what to do. */
#include "soloctl/explanations.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/status.h"
#include "common/spec/spec.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "soloctl/arguments.h"
#include "soloctl/commands.h"
#include "tests/support/criterion.h"

static const struct explanation *find(enum explanation_kind kind, const char *word)
{
    for (size_t i = 0; i < explanation_count; i++)
        if (explanations[i].kind == kind && strcmp(explanations[i].word, word) == 0)
            return &explanations[i];
    return NULL;
}

Test(explanations, each_says_what_it_means_and_what_to_do)
{
    char next[EXPLANATION_NEXT_BYTES];
    for (size_t i = 0; i < explanation_count; i++) {
        const struct explanation *explanation = &explanations[i];
        if (explanation->kind == EXPLAIN_PLAN_CODE && strcmp(explanation->word, "none") == 0)
            continue;
        cr_assert_gt(strlen(explanation->meaning), 3, "%s", explanation->word);
        explanation_next(explanation, next);
        cr_assert_gt(strlen(next), 3, "there is no advice about the %s \"%s\"",
                     explanation_kind_text(explanation->kind), explanation->word);
        cr_assert_lt(strlen(next), sizeof next - 1, "the advice about \"%s\" is cut",
                     explanation->word);
    }
}

/* Whether soloctl takes it as it stands, but for the names in it. */
static bool is_taken(const char *command, size_t size)
{
    static struct arguments arguments;
    char words[EXPLANATION_NEXT_BYTES], *argv[16], *rest = words;
    struct problem problem;
    int count = 0;
    snprintf(words, sizeof words, "%.*s", (int)size, command);
    for (char *word; count < 15 && (word = strsep(&rest, " ")) != NULL;)
        argv[count++] = word;
    argv[count] = NULL;
    return count > 1 && strcmp(argv[1], "COMMAND") == 0
               ? true
               : arguments_parse(commands, command_count, count, argv, &arguments, &problem) ==
                     STATUS_OK;
}

/* A command in an advice that cannot be typed helps nobody. */
Test(explanations, the_commands_they_name_can_be_typed)
{
    static const char prefix[] = "`soloctl ";
    char next[EXPLANATION_NEXT_BYTES];
    size_t found = 0;
    for (size_t i = 0; i < explanation_count; i++) {
        explanation_next(&explanations[i], next);
        for (const char *at = next; (at = strstr(at, prefix)) != NULL; found++) {
            size_t size = strcspn(++at, "`");
            cr_assert(is_taken(at, size), "%s: %.*s", explanations[i].word, (int)size, at);
            at += size;
        }
    }
    cr_assert_gt(found, 50);
    cr_assert_not(is_taken("soloctl restrat a/b", 19));
    cr_assert_not(is_taken("soloctl restart", 15), "without a name");
}

Test(explanations, no_advice_is_about_a_word_that_is_gone)
{
    static const struct {
        enum explanation_kind kind;
        const char *word;
    } advised[] = {
#define ADVICE(kind, word, next) { EXPLAIN_##kind, #word },
#include "soloctl/advice.def"
#undef ADVICE
    };
    for (size_t i = 0; i < COUNT_OF(advised); i++)
        cr_assert_not_null(find(advised[i].kind, advised[i].word), "%s", advised[i].word);
}

Test(explanations, every_exit_code_of_an_error_is_there)
{
    static const int codes[] = {
#define STATUS(code, name, exit_code, text) exit_code,
#include "common/base/status.def"
#undef STATUS
        2,
        3,
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        char word[16];
        snprintf(word, sizeof word, "%d", codes[i]);
        cr_assert_not_null(find(EXPLAIN_EXIT_CODE, word), "%s", word);
    }
}

static size_t fields_checked;

static void check_fields(struct span map, const char *prefix)
{
    struct reader reader = reader_of(map);
    uint32_t count;
    cr_assert_eq(reader_map(&reader, &count), STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct span key, value;
        char name[128];
        cr_assert_eq(reader_str(&reader, &key), STATUS_OK);
        cr_assert_eq(reader_any(&reader, &value), STATUS_OK);
        snprintf(name, sizeof name, "%s%.*s", prefix, (int)key.size, (const char *)key.data);
        cr_assert_not_null(find(EXPLAIN_SPEC_FIELD, name), "the spec field %s", name);
        fields_checked++;
        struct reader inner = reader_of(value);
        uint32_t inner_count;
        if (strcmp(name, "env") != 0 && reader_map(&inner, &inner_count) == STATUS_OK) {
            char inner_prefix[130];
            snprintf(inner_prefix, sizeof inner_prefix, "%s.", name);
            check_fields(value, inner_prefix);
        }
    }
}

static enum status check_spec(void *context, struct span map, const char *place,
                              struct problem *problem)
{
    (void)place;
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    AUTO(buffer_close) struct buffer canonical = { .limit = 1 << 20 };
    struct spec spec;
    cr_assert_eq(spec_decode(map, &arena, &spec, problem), STATUS_OK, "%s", problem->message);
    cr_assert_eq(spec_encode(&spec, &canonical), STATUS_OK);
    check_fields(buffer_span(&canonical), "");
    *(bool *)context = true;
    return STATUS_OK;
}

Test(explanations, every_field_of_the_canonical_spec_is_there)
{
    struct problem problem = { 0 };
    bool was_checked = false;
    cr_assert_eq(specs_from_json(span_of_text("{\"tenant\": \"t\", \"name\": \"n\", \"argv\": "
                                              "[\"/bin/true\"]}"),
                                 check_spec, &was_checked, &problem),
                 STATUS_OK);
    cr_assert(was_checked);
    cr_assert_geq(fields_checked, 20);
}

Test(explanations, a_setting_says_when_a_change_counts)
{
    char next[EXPLANATION_NEXT_BYTES];
    explanation_next(find(EXPLAIN_SETTING, "log_level"), next);
    cr_expect_not_null(strstr(next, "the next SIGHUP"), "%s", next);
    explanation_next(find(EXPLAIN_SETTING, "operator"), next);
    cr_expect_not_null(strstr(next, "the next start"), "%s", next);
}
