#ifndef SOLO_TESTS_SUPPORT_EXPECT_H
#define SOLO_TESTS_SUPPORT_EXPECT_H

#include <string.h>

#include "tests/support/criterion.h"
#include "tests/support/services.h"

/* What tests of the programs assert again and again, with what is needed to understand a failure.
 */

#define expect_exit(result, code)                                                                  \
    cr_assert_eq((result)->exit_code, (code), "exit code %d, wanted %d\nstdout: %s\nstderr: %s",   \
                 (result)->exit_code, (code), result_out(result), result_err(result))

#define expect_contains(text, part)                                                                \
    cr_assert_not_null(strstr((text), (part)), "\"%s\" is not in: %s", (part), (text))

#define expect_lacks(text, part)                                                                   \
    cr_assert_null(strstr((text), (part)), "\"%s\" is in: %s", (part), (text))

/* A refusal: its status, and the place it names ("" for none, NULL for any). */
#define expect_refused(found, wanted, problem, place)                                              \
    do {                                                                                           \
        cr_assert_eq((found), (wanted), "%s, wanted %s; field \"%s\": %s", status_name(found),     \
                     status_name(wanted), (problem)->field, (problem)->message);                   \
        cr_assert_neq((problem)->message[0], '\0', "a refusal without words");                     \
        if ((place) != NULL)                                                                       \
            cr_assert_str_eq((problem)->field, (place), "%s", (problem)->message);                 \
    } while (0)

#define expect_text(object, key, wanted)                                                           \
    do {                                                                                           \
        const char *found_ = text_in((object), (key));                                             \
        cr_assert_not_null(found_, "no %s", (key));                                                \
        cr_assert_str_eq(found_, (wanted), "%s is \"%s\"", (key), found_);                         \
    } while (0)

#define expect_number(object, key, wanted)                                                         \
    do {                                                                                           \
        uint64_t found_ = number_in((object), (key));                                              \
        cr_assert_eq(found_, (uint64_t)(wanted), "%s is %lu, wanted %lu", (key),                   \
                     (unsigned long)found_, (unsigned long)(wanted));                              \
    } while (0)

#endif
